"""Time what follows inference for one radiograph of 2500 x 2000 pixels: overlay, Secondary Capture, pictures, PDF.

`python benchmarks/encode.py` prints the median processor time of each stage in milliseconds, on one thread.
"""

import sys
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from statistics import median

import cv2

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from analyses import build_analysis, build_image, build_radiograph, build_study
from builders import build_dx, phantom

from dicom_node.encode.encapsulated_pdf import encode_encapsulated_pdf
from dicom_node.encode.presentation_state import encode_presentation_state
from dicom_node.encode.provenance import Origin
from dicom_node.encode.report import render_report
from dicom_node.encode.report.pictures import compress_pictures
from dicom_node.encode.results import encode_study
from dicom_node.encode.secondary_capture import encode_secondary_capture
from dicom_node.encode.structured_report import encode_structured_report
from dicom_node.encode.summary import render_summary
from dicom_node.header import tolerate
from dicom_node.identity import DISCLAIMER
from dicom_node.values import AnalysedInstance
from inference.overlay import render_overlay, show

ROWS, COLUMNS, RUNS = 2500, 2000, 15


def measure(stage: str, work: Callable[[], object]) -> None:
    """Run a stage once to load what is loaded once, then print the median of `RUNS`."""
    times = []
    for _ in range(RUNS + 1):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    print(f"{stage:<34}{median(times[1:]) * 1000:8.1f} ms   first {times[0] * 1000:6.1f} ms")


def main() -> None:
    """Print the table."""
    cv2.setNumThreads(1)
    radiograph, analysis = show(build_radiograph(ROWS, COLUMNS)), build_analysis(ROWS, COLUMNS)
    instance = build_image(build_dx(phantom(ROWS, COLUMNS))).instance
    image = AnalysedInstance(instance=instance, shown=radiograph, analysis=analysis)
    study = build_study([image])
    origin = Origin(analysis=study, ae_title="FRACTUREAI", header=instance.header)
    overlay = render_overlay(radiograph, analysis, disclaimer=DISCLAIMER)
    pictures = compress_pictures(radiograph, overlay, longest=900)
    with tolerate():
        capture = encode_secondary_capture(origin, image, overlay, number=1)
        document = render_report(origin, {instance.sop_instance_uid: pictures})
        print(f"{ROWS} x {COLUMNS} pixels, PDF of {len(document) / 1000:.0f} kB")
        measure("overlay", lambda: render_overlay(radiograph, analysis, disclaimer=DISCLAIMER))
        measure("Secondary Capture, data set", lambda: encode_secondary_capture(origin, image, overlay, number=1))
        measure("Secondary Capture, to bytes", lambda: capture.save_as(BytesIO(), enforce_file_format=True))
        measure("pictures for the report", lambda: compress_pictures(radiograph, overlay, longest=900))
        shown = {instance.sop_instance_uid: pictures}
        measure("summary, picture", lambda: render_summary(origin, shown))
        measure("structured report", lambda: encode_structured_report(origin))
        measure("presentation state", lambda: encode_presentation_state(origin, image, number=1))
        measure("report, PDF", lambda: render_report(origin, {instance.sop_instance_uid: pictures}))
        measure("Encapsulated PDF, data set", lambda: encode_encapsulated_pdf(origin, document))
    measure("whole study of one image", lambda: encode_study(study, ae_title="FRACTUREAI"))


if __name__ == "__main__":
    main()

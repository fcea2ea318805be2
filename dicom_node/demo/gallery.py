"""What the demonstration leaves behind: result objects, pictures, the report, and a page to look at them."""

import html
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from dicom_node.analyse.pixels import to_radiograph
from dicom_node.errors import StudyError
from dicom_node.identity import DISCLAIMER
from dicom_node.store import Finding
from inference.overlay import render_original
from inference.probabilities import format_percentage

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #1b2733; }
h1, h2 { font-weight: 600 } table { border-collapse: collapse; margin: 1rem 0 }
td, th { border-bottom: 1px solid #d5dde5; padding: .35rem .9rem .35rem 0; text-align: left; vertical-align: top }
img { background: #000; max-width: 100%; height: auto } .notice { background: #fff4d6; padding: .6rem 1rem }
figure { margin: 1rem 0 } figcaption { color: #54677a }
"""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back for one study."""

    label: str
    study_instance_uid: str
    findings: tuple[Finding, ...]
    seconds: float
    """From the last image received to the last result that the archive took."""
    sources: tuple[Dataset, ...]
    summaries: tuple[Dataset, ...]
    captures: tuple[Dataset, ...]
    reports: tuple[Dataset, ...]

    @property
    def complete(self) -> bool:
        """Whether there is one summary, one report, and one capture for each radiograph that was analysed."""
        analysed = sum(finding.decision != "not analysed" for finding in self.findings)
        return len(self.summaries) == len(self.reports) == 1 and len(self.captures) == analysed


def write_gallery(out: Path, answers: list[Answer], subtitle: str) -> Path:
    """Write everything below `out`; returns the page."""
    sections = [_write_study(out, answer) for answer in answers]
    page = out / "index.html"
    page.write_text(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Fracture AI node</title><style>{_STYLE}</style>'
        f'<h1>What came back</h1><p>{html.escape(subtitle)}</p><p class="notice">{DISCLAIMER}</p>{"".join(sections)}',
        encoding="utf-8",
    )
    return page


def _write_study(out: Path, answer: Answer) -> str:
    folder = out / answer.label
    folder.mkdir(parents=True, exist_ok=True)
    parts = [f"<h2>{html.escape(answer.label)}</h2>", _findings_table(answer)]
    by_uid = {str(ds.SOPInstanceUID): ds for ds in answer.sources}
    for number, ds in enumerate(answer.summaries + answer.captures + answer.reports, 1):
        kind = _name_kind(ds)
        ds.save_as(folder / f"{number}-{kind}.dcm", enforce_file_format=True)
        if kind == "report":
            pdf = folder / f"{number}-report.pdf"
            pdf.write_bytes(ds.EncapsulatedDocument[: ds.get("EncapsulatedDocumentLength")])
            parts.append(f'<p><a href="{_link(out, pdf)}">Report (PDF)</a></p>')
            continue
        if kind == "summary":
            picture, caption = folder / f"{number}-summary.png", "summary"
            Image.fromarray(ds.pixel_array).save(picture)
        else:
            source = by_uid.get(str(ds.SourceImageSequence[0].ReferencedSOPInstanceUID))
            picture, caption = folder / f"{number}-original-and-overlay.png", "original and overlay"
            side_by_side(source, ds).save(picture)
        parts.append(
            f'<figure><img src="{_link(out, picture)}" alt="{caption}"><figcaption>{caption}</figcaption></figure>'
        )
    return "".join(parts)


def _name_kind(ds: Dataset) -> str:
    if ds.SOPClassUID != SecondaryCaptureImageStorage:
        return "report"
    return "capture" if "SourceImageSequence" in ds else "summary"


def _findings_table(answer: Answer) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(finding.region or '-')}</td><td>{html.escape(finding.decision)}</td>"
        f"<td>{'-' if finding.probability is None else html.escape(format_percentage(finding.probability))}</td>"
        f"<td>{html.escape(finding.reason)}</td></tr>"
        for finding in answer.findings
    )
    head = "<tr><th>region</th><th>finding</th><th>probability</th><th>reason</th></tr>"
    return f"<table>{head}{rows}</table><p>{answer.seconds:.1f} s from last image to archived result</p>"


def side_by_side(source: Dataset | None, capture: Dataset) -> Image.Image:
    """Put the original left of the overlay, both as a viewer shows them."""
    overlay = capture.pixel_array
    original = np.zeros_like(overlay)
    if source is not None:
        with suppress(StudyError):  # the page shows what there is
            original = np.repeat(render_original(to_radiograph(source))[..., np.newaxis], 3, axis=2)
    return Image.fromarray(np.concatenate([original, overlay], axis=1))


def _link(out: Path, path: Path) -> str:
    return html.escape(path.relative_to(out).as_posix())

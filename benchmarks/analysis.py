"""Time of one radiograph by stage, from file to result objects, beside the straightforward Keras version of the models.

    python benchmarks/analysis.py [--rows 2500] [--columns 2000] [--repeats 20] [--no-keras]

Prints the median of each stage in milliseconds, their sum, and the ratio of what both do: from pixels to heat map. The
straightforward version calls `model.predict` twice and takes Grad-CAM with `tf.GradientTape`, as tutorials do.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import pydicom
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from dicom_node.analyse.pixels import load_radiograph
from dicom_node.assemble.study import read_instance
from dicom_node.encode.results import encode_study
from dicom_node.identity import DISCLAIMER
from dicom_node.values import AnalysedInstance, Study, StudyAnalysis
from inference.limb import find_limb
from inference.overlay import render_overlay
from inference.overlay import show as show_radiograph
from inference.pipeline import Pipeline
from inference.preprocessing import prepare
from inference.quality import object_to
from inference.roi import find_rois
from inference.sight import Sight
from inference.types import Radiograph

BUNDLES = Path(__file__).parents[1] / "models" / "bundles"

Stage = tuple[str, Callable[[dict[str, Any]], Any]]
"""A name, and what it does with the results of the stages before it."""


def analysis_stages(pipeline: Pipeline, radiograph: Radiograph, region: str) -> list[Stage]:
    """Return the stages of the pipeline, each a function of the results before it."""
    stage1 = pipeline.region_model
    stage2, answer = pipeline.find_model(region)
    shape = {"rows": radiograph.rows, "columns": radiograph.columns}

    def judge(sight: Sight) -> str:
        return object_to(sight, find_limb(radiograph), stage2.bundle.manifest.quality)

    return [
        ("region", lambda _: stage1.run(radiograph)),
        ("fracture and Grad-CAM", lambda _: stage2.look_for(answer.output, radiograph)),
        ("is the heat map good?", lambda done: judge(done["fracture and Grad-CAM"])),
        ("heat map at source size", lambda done: done["fracture and Grad-CAM"].spread(**shape)),
        ("regions of interest", lambda done: find_rois(done["heat map at source size"].map)),
    ]


def keras_stages(pipeline: Pipeline, radiograph: Radiograph, region: str) -> list[Stage]:
    """Return the straightforward version: predict, predict, gradient tape."""
    import keras  # noqa: PLC0415 - only this version needs it
    import tensorflow as tf  # noqa: PLC0415 - as above

    import inference.keras_layers  # noqa: F401, PLC0415 - registers what the files hold

    stage1 = pipeline.region_model.bundle
    fracture, answer = pipeline.find_model(region)
    stage2 = fracture.bundle
    output = stage2.manifest.labels.index(answer.output)
    models = [keras.models.load_model(bundle.folder / "model.keras", compile=False) for bundle in (stage1, stage2)]
    with_features = keras.Model(
        models[1].input, [models[1].get_layer("top_activation").output, models[1].output["logits"]]
    )

    def take_grad_cam(done: dict[str, Any]) -> Any:
        with tf.GradientTape() as tape:
            features, logits = with_features(done["preprocess, fracture"][0], training=False)
            logit = logits[:, output]
        weights = tf.reduce_mean(tape.gradient(logit, features), axis=(1, 2), keepdims=True)
        return tf.nn.relu(tf.reduce_sum(weights * features, axis=-1))[0].numpy()

    return [
        ("preprocess, region", lambda _: prepare(radiograph, stage1.preprocessing)),
        ("predict region", lambda done: models[0].predict(done["preprocess, region"][0], verbose=0)),
        ("preprocess, fracture", lambda _: prepare(radiograph, stage2.preprocessing)),
        ("predict fracture", lambda done: models[1].predict(done["preprocess, fracture"][0], verbose=0)),
        ("Grad-CAM by gradient tape", take_grad_cam),
    ]


def write_source(folder: Path, rows: int, columns: int) -> Path:
    """Write the distal tibia of the pydicom-data package at this size, uncompressed."""
    ds = pydicom.dcmread(str(get_testdata_file("RG3_UNCR.dcm")))
    pixels = cv2.resize(ds.pixel_array, (columns, rows), interpolation=cv2.INTER_LINEAR)
    ds.Rows, ds.Columns = rows, columns
    ds.PixelData = pixels.astype("<u2").tobytes()
    ds.SOPInstanceUID, ds.SeriesInstanceUID, ds.StudyInstanceUID = (generate_uid() for _ in range(3))
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    path = folder / "source.dcm"
    ds.save_as(path, enforce_file_format=True)
    return path


def decode_stages(path: Path) -> list[Stage]:
    """Return what comes before the pipeline."""
    return [("decode, grey scale", lambda _: load_radiograph(path))]


def encode_stages(path: Path, pipeline: Pipeline, radiograph: Radiograph) -> list[Stage]:
    """Return what comes after the pipeline."""
    instance = read_instance(path)
    analysis = pipeline.analyse(radiograph)
    study = Study(
        study_instance_uid=str(instance.header.StudyInstanceUID),
        revision="0",
        version=1,
        created_at=datetime.now(UTC),
        instances=(instance,),
    )
    whole = StudyAnalysis(
        study=study,
        images=(AnalysedInstance(instance=instance, shown=show_radiograph(radiograph), analysis=analysis),),
        excluded=(),
        models=pipeline.models,
    )
    return [
        ("overlay", lambda _: render_overlay(show_radiograph(radiograph), analysis, disclaimer=DISCLAIMER)),
        ("encode SC and PDF, overlay again", lambda _: encode_study(whole, ae_title="BENCHMARK")),
    ]


def measure(stages: list[Stage], repeats: int) -> dict[str, float]:
    """Return the median milliseconds of every stage, after one run that does not count."""
    times: dict[str, list[float]] = {name: [] for name, _ in stages}
    for repeat in range(repeats + 1):
        done: dict[str, Any] = {}
        for name, stage in stages:
            start = time.perf_counter()
            done[name] = stage(done)
            if repeat:
                times[name].append((time.perf_counter() - start) * 1000)
    return {name: statistics.median(values) for name, values in times.items()}


def show(title: str, medians: dict[str, float]) -> float:
    """Print a table and return its sum."""
    total = sum(medians.values())
    print(f"\n{title}")
    for name, value in medians.items():
        print(f"  {name:32} {value:8.2f} ms")
    print(f"  {'together':32} {total:8.2f} ms")
    return total


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2500)
    parser.add_argument("--columns", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bundles", type=Path, default=BUNDLES)
    parser.add_argument("--no-keras", action="store_true")
    options = parser.parse_args()
    pipeline = Pipeline.load(options.bundles, threads=options.threads)
    with tempfile.TemporaryDirectory() as folder:
        path = write_source(Path(folder), options.rows, options.columns)
        radiograph = load_radiograph(path)
        region = pipeline.name_region(radiograph).region
        print(f"{options.columns} x {options.rows} pixels, {options.threads} threads, median of {options.repeats}")
        before = measure(decode_stages(path), options.repeats)
        models = measure(analysis_stages(pipeline, radiograph, region), options.repeats)
        after = measure(encode_stages(path, pipeline, radiograph), options.repeats)
        show("the node, from file to result objects", before | models | after)
        if not options.no_keras:
            keras = measure(keras_stages(pipeline, radiograph, region), options.repeats)
            theirs = show("Keras, straightforward, from pixels to heat map", keras)
            print(f"\nfrom pixels to heat map: Keras / node = {theirs / sum(models.values()):.1f}")


if __name__ == "__main__":
    main()

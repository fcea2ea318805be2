"""Time of one radiograph by stage, beside the straightforward Keras version of the same two models.

    python benchmarks/analysis.py [--rows 2500] [--columns 2000] [--repeats 20] [--no-keras]

Prints the median of each stage in milliseconds, their sum, and the ratio. The straightforward version calls
`model.predict` twice and takes Grad-CAM with `tf.GradientTape`, as tutorials do.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
from pydicom.data import get_testdata_file

from inference.grad_cam import find_peak, spread_over_source
from inference.pipeline import Pipeline
from inference.preprocessing import prepare
from inference.roi import find_rois
from inference.types import Radiograph

BUNDLES = Path(__file__).parents[1] / "models" / "bundles"

Stage = tuple[str, Callable[[dict[str, Any]], Any]]
"""A name, and what it does with the results of the stages before it."""


def analysis_stages(pipeline: Pipeline, radiograph: Radiograph, region: str) -> list[Stage]:
    """Return the stages of the pipeline, each a function of the results before it."""
    stage1 = pipeline.region_model
    stage2, answer = pipeline.find_model(region)
    output = stage2.bundle.manifest.labels.index(answer.output)
    shape = {"rows": radiograph.rows, "columns": radiograph.columns}
    return [
        ("preprocess, region", lambda _: prepare(radiograph, stage1.bundle.preprocessing)),
        ("infer region", lambda done: stage1.runtime.run(done["preprocess, region"][0])),
        ("preprocess, fracture", lambda _: prepare(radiograph, stage2.bundle.preprocessing)),
        ("infer fracture and Grad-CAM", lambda done: stage2.runtime.run(done["preprocess, fracture"][0])),
        (
            "heat map at source size",
            lambda done: spread_over_source(
                done["infer fracture and Grad-CAM"].cam[..., output], done["preprocess, fracture"][1], **shape
            ),
        ),
        ("regions of interest", lambda done: find_rois(done["heat map at source size"])),
        ("peak", lambda done: find_peak(done["heat map at source size"])),
    ]


def keras_stages(pipeline: Pipeline, radiograph: Radiograph, region: str) -> list[Stage]:
    """Return the straightforward version: predict, predict, gradient tape."""
    import keras  # noqa: PLC0415 - only this version needs it
    import tensorflow as tf  # noqa: PLC0415 - as above

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


def read_radiograph(rows: int, columns: int) -> Radiograph:
    """Return the distal tibia of the pydicom-data package at this size."""
    pixels = pydicom.dcmread(str(get_testdata_file("RG3_UNCR.dcm"))).pixel_array.astype(np.float32)
    low, high = np.percentile(pixels, [0.5, 99.5])
    bright = 1 - np.clip((pixels - low) / (high - low), 0, 1)
    return Radiograph(pixels=np.asarray(cv2.resize(bright, (columns, rows)), np.float32))


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
    parser.add_argument("--no-keras", action="store_true")
    options = parser.parse_args()
    pipeline = Pipeline.load(BUNDLES, threads=options.threads)
    radiograph = read_radiograph(options.rows, options.columns)
    region = pipeline.name_region(radiograph).region
    print(f"{options.columns} x {options.rows} pixels, {options.threads} threads, median of {options.repeats}")
    ours = show(
        "ONNX Runtime, Grad-CAM in the forward pass",
        measure(analysis_stages(pipeline, radiograph, region), options.repeats),
    )
    if not options.no_keras:
        theirs = show("Keras, straightforward", measure(keras_stages(pipeline, radiograph, region), options.repeats))
        print(f"\nratio {theirs / ours:.1f}")


if __name__ == "__main__":
    main()

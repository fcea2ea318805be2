"""Time from a file to a `Radiograph`, by transfer syntax: `python benchmarks/decode.py [--rounds N]`.

The image: 2000 x 2500, 14 bits in 16, a phantom with noise as a detector has it, in the disk cache. Each round
goes through all transfer syntaxes in turn, so that a busy machine slows them alike. `decode` is the plugin alone,
`display` the rest of `load_radiograph`: reading the file, the table of display values, looking it up. `caged` is the
same in the worker's decoder process, with the way there and back; the ratio is that of both medians. `small` is a
native image of 250 x 200.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.pixels.utils import pixel_array
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from builders import build_dx, compress, phantom, write_part10

from dicom_node.analyse.decoder import Decoder
from dicom_node.analyse.pixels import load_radiograph
from dicom_node.settings import AnalysisSettings

ROWS, COLUMNS, BITS = 2500, 2000, 14
NOISE = 40  # standard deviation in stored values
CASES = {
    "small": (ExplicitVRLittleEndian, ""),
    "native": (ExplicitVRLittleEndian, ""),
    "RLE": (RLELossless, "pylibjpeg"),
    "JPEG-LS lossless": (JPEGLSLossless, "pyjpegls"),
    "JPEG 2000 lossless": (JPEG2000Lossless, "pylibjpeg"),
}


def main() -> None:
    """Print a table of medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder, closing(Decoder(AnalysisSettings())) as decoder:
        files = {name: write(name, Path(folder)) for name in CASES}
        sets = {name: dcmread(path) for name, path in files.items()}
        total: dict[str, list[float]] = {name: [] for name in CASES}
        decode: dict[str, list[float]] = {name: [] for name in CASES}
        caged: dict[str, list[float]] = {name: [] for name in CASES}
        decoder.wait_until_ready()
        for _ in range(rounds + 1):
            for name, (_, plugin) in CASES.items():
                total[name].append(milliseconds(lambda name=name: load_radiograph(files[name])))
                caged[name].append(milliseconds(lambda name=name: decoder(files[name])))
                decode[name].append(milliseconds(lambda name=name, plugin=plugin: decoded(sets[name], plugin)))
        print(f"{COLUMNS} x {ROWS}, {BITS} bits, median of {rounds} rounds\n")
        print(f"{'transfer syntax':<20}{'MB':>6}{'decode':>12}{'display':>12}{'all':>12}{'caged':>12}{'ratio':>8}")
        for name in CASES:
            all_ms, decode_ms, caged_ms = (statistics.median(times[name][1:]) for times in (total, decode, caged))
            size = files[name].stat().st_size / 1e6
            stages = "".join(f"{ms:>9.1f} ms" for ms in (decode_ms, all_ms - decode_ms, all_ms, caged_ms))
            print(f"{name:<20}{size:>6.1f}{stages}{caged_ms / all_ms:>8.2f}")


def write(name: str, folder: Path) -> Path:
    """Write the image in the transfer syntax of `name`."""
    rng = np.random.default_rng(0)
    shape = (ROWS // 10, COLUMNS // 10) if name == "small" else (ROWS, COLUMNS)
    noisy = phantom(*shape, bits=BITS) + rng.normal(0, NOISE, shape)
    ds = build_dx(np.clip(noisy, 0, 2**BITS - 1).astype(np.uint16))
    transfer_syntax, _ = CASES[name]
    if transfer_syntax != ExplicitVRLittleEndian:
        ds = compress(ds, transfer_syntax)
    return write_part10(ds, folder / f"{name}.dcm")


def decoded(ds: Dataset, plugin: str) -> object:
    """Decode the pixels and nothing else."""
    return pixel_array(ds, index=0, raw=True, decoding_plugin=plugin, view_only=True, correct_unused_bits=False)


def milliseconds(call: Callable[[], object]) -> float:
    """Time one call."""
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1000


if __name__ == "__main__":
    main()

"""Bundles are what their manifest says, or they are refused by name."""

import re
from pathlib import Path

import pytest

from inference.bundle import MANIFEST, ONNX, SCOPE, load_bundle, load_bundles
from inference.errors import BundleError
from inference.pipeline import Pipeline
from inference.testing import build_tiny_bundles


@pytest.fixture
def bundles(tmp_path: Path) -> Path:
    return build_tiny_bundles(tmp_path)


@pytest.mark.parametrize("name", [ONNX, SCOPE])
def test_a_changed_byte_is_refused_and_named(bundles: Path, name: str) -> None:
    path = bundles / "tiny_region" / name
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(BundleError, match=f"tiny_region/{name} is not the file the manifest describes"):
        load_bundles(bundles)


@pytest.mark.parametrize("place", ["nope", "file", "file/nope"])
def test_a_folder_without_a_bundle_is_said_to_have_none(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BundleError, match=rf"^no bundle in .*{place}: a bundle is a folder with a manifest\.toml$"):
        load_bundle(tmp_path / place)


def test_the_bundles_below_a_folder_are_named_where_one_is_asked_for(bundles: Path) -> None:
    with pytest.raises(BundleError, match=r"; below it are tiny_fracture, tiny_region$"):
        load_bundle(bundles)


def test_a_missing_file_is_named(bundles: Path) -> None:
    (bundles / "tiny_region" / ONNX).unlink()
    with pytest.raises(BundleError, match=r"tiny_region/model\.onnx cannot be read"):
        load_bundles(bundles)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("image_size = 64", "image_size = 0", "preprocessing.image_size"),
        ("image_size", "imagesize", "preprocessing"),
        ('output = "any"', 'output = "other"', "no output is labelled other"),
        ("sensitive = 0.05", "sensitive = 0.99", "above the specific one"),
        ('"FOREARM"', '"HAND"', "answered twice"),
        ("[preprocessing]", "[type]\ntemperature = 1.0\n\n[preprocessing]", "a type bundle, and no other"),
        ("[preprocessing]", "[preprocessing", "not TOML"),
    ],
    ids=[
        "nonsense size",
        "unknown key",
        "unknown output",
        "crossed thresholds",
        "region twice",
        "types of a fracture bundle",
        "broken",
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(bundles: Path, old: str, new: str, said: str) -> None:
    path = bundles / "tiny_fracture" / MANIFEST
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(BundleError, match=said) as caught:
        load_bundle(bundles / "tiny_fracture")
    assert f"tiny_fracture/{MANIFEST}" in str(caught.value)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no bundle in"):
        load_bundles(tmp_path)


def test_a_runtime_without_its_model_file_is_refused(bundles: Path) -> None:
    with pytest.raises(BundleError, match=r"carries no model\.keras"):
        Pipeline.load(bundles, runtime="tensorflow")


def test_an_unknown_runtime_is_a_programming_error(bundles: Path) -> None:
    with pytest.raises(ValueError, match="no runtime 'caffe'"):
        Pipeline.load(bundles, runtime="caffe")


def test_another_calibration_is_another_identity(bundles: Path) -> None:
    """The weights are the same, what is answered is not: UIDs of results are derived from who speaks."""
    before = Pipeline.load(bundles).models
    assert [model.name for model in before] == ["tiny-region", "tiny-fracture"]
    assert {len(model.digest) for model in before} == {64}
    path = bundles / "tiny_fracture" / MANIFEST
    path.write_text(re.sub(r"^specific = .*", "specific = 0.99", path.read_text(), flags=re.MULTILINE))
    after = Pipeline.load(bundles).models
    assert [new.digest == old.digest for new, old in zip(after, before, strict=True)] == [
        model.name != "tiny-fracture" for model in before
    ]

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from builders import build_dx, build_sr, phantom, write_part10
from numpy.testing import assert_allclose
from PIL import Image
from pydicom import dcmread
from pydicom.uid import MediaStorageDirectoryStorage

from dicom_node.analyse.picture import ImportedImage, SkippedFile, read_images, wrap_picture
from dicom_node.analyse.pixels import load_radiograph, to_radiograph
from dicom_node.assemble.selection import RULES
from dicom_node.errors import UndecodableImageError

GREY = phantom(96, 64, bits=8).astype(np.uint8)
PICTURE = GREY / np.float32(255)


def saved(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


def grey() -> Image.Image:
    return Image.fromarray(GREY)


@pytest.mark.dicom3tools
@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy is not installed")
@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_a_wrapped_picture_is_valid_dicom(name: str, tmp_path: Path) -> None:
    path = write_part10(wrap_picture(saved(grey(), tmp_path / name)), tmp_path / "a.dcm")

    finding = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)

    assert "Error" not in finding.stderr


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA"])
def test_a_png_keeps_its_grey_values_in_every_mode(mode: str, tmp_path: Path) -> None:
    ds = wrap_picture(saved(grey().convert(mode), tmp_path / "a.png"))

    assert_allclose(to_radiograph(ds).pixels, PICTURE, rtol=0, atol=1e-3)
    assert ds.LossyImageCompression == "00"


def test_a_png_of_16_bits_keeps_them(tmp_path: Path) -> None:
    ds = wrap_picture(saved(Image.fromarray(phantom(96, 64, bits=16)), tmp_path / "a.png"))

    assert (np.frombuffer(ds.PixelData, "<u2").reshape(96, 64) == phantom(96, 64, bits=16)).all()
    assert_allclose(to_radiograph(ds).pixels, (PICTURE - 0.05) / 0.95, rtol=0, atol=0.005)


def test_a_png_with_a_palette_or_of_one_bit_is_a_picture_too(tmp_path: Path) -> None:
    black_and_white = np.where(GREY > 60, 255, 0).astype(np.uint8)

    palette = wrap_picture(saved(Image.fromarray(black_and_white).convert("P"), tmp_path / "palette.png"))
    one_bit = wrap_picture(saved(Image.fromarray(black_and_white).convert("1"), tmp_path / "one_bit.png"))

    for ds in (palette, one_bit):
        assert_allclose(to_radiograph(ds).pixels, black_and_white / 255, rtol=0, atol=1e-3)


def test_a_jpeg_says_that_it_is_lossy(tmp_path: Path) -> None:
    ds = wrap_picture(saved(grey(), tmp_path / "a.jpg", quality=95))

    assert_allclose(to_radiograph(ds).pixels, PICTURE, rtol=0, atol=12 / 255)
    assert (ds.LossyImageCompression, ds.LossyImageCompressionMethod) == ("01", "ISO_10918_1")
    assert ds.LossyImageCompressionRatio > 1


def test_a_picture_that_a_camera_turned_is_set_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise by 90 degrees to see it upright
    lying = grey().rotate(90, expand=True)

    ds = wrap_picture(saved(lying, tmp_path / "a.jpg", exif=exif, quality=95))

    assert_allclose(to_radiograph(ds).pixels, PICTURE, rtol=0, atol=12 / 255)


def test_a_wrapped_picture_is_plainly_no_patient_and_gives_away_no_file_name(tmp_path: Path) -> None:
    ds = wrap_picture(saved(grey(), tmp_path / "Unmistakable_Patient_1970.png"))

    assert ds.PatientName == "Picture^Imported"
    assert ds.PatientID.startswith("PICTURE-")
    assert "Unmistakable" not in str(ds)
    assert not any(rule(ds) for rule in RULES)


def test_wrapping_a_picture_twice_gives_the_same_object_and_another_picture_another(tmp_path: Path) -> None:
    first = saved(grey(), tmp_path / "a.png")
    other = saved(grey().rotate(180), tmp_path / "b.png")

    assert wrap_picture(first) == wrap_picture(first)
    uids = {wrap_picture(path).SOPInstanceUID for path in (first, other)}
    studies = {wrap_picture(path).StudyInstanceUID for path in (first, other)}
    assert (len(uids), len(studies)) == (2, 2)


def test_pictures_of_one_study_are_of_one_patient_and_one_series(tmp_path: Path) -> None:
    pictures = [saved(grey().rotate(angle), tmp_path / f"{angle}.png") for angle in (0, 180)]

    one, two = (
        wrap_picture(path, study_instance_uid="1.2.3", instance_number=number)
        for number, path in enumerate(pictures, start=1)
    )

    assert (one.PatientID, one.StudyInstanceUID, one.SeriesInstanceUID) == (
        two.PatientID,
        "1.2.3",
        two.SeriesInstanceUID,
    )
    assert (one.InstanceNumber, two.InstanceNumber) == (1, 2)
    assert one.SOPInstanceUID != two.SOPInstanceUID


def truncated(path: Path) -> Path:
    saved(grey(), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda folder: truncated(folder / "a.jpg"), "could not be decoded"),
        (lambda folder: truncated(folder / "a.png"), "could not be decoded"),
        (lambda folder: saved(Image.new("1", (10_000, 7_000)), folder / "a.png"), "million pixels"),
        (lambda folder: saved(grey(), folder / "a.bmp"), "neither DICOM nor PNG nor JPEG"),
        (lambda folder: folder / "missing.png", "cannot be read"),
    ],
)
def test_a_picture_that_cannot_be_read_is_refused_with_its_reason(
    spoil: Callable[[Path], Path], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(UndecodableImageError, match=reason):
        wrap_picture(spoil(tmp_path))


def test_files_are_known_by_their_content_and_come_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    dicom = write_part10(build_dx(), folder / "1" / "IM0001")
    report = write_part10(build_sr(), folder / "1" / "SR0001")
    picture = saved(grey(), folder / "2.dcm", format="PNG")
    (folder / "3.txt").write_text("notes")
    directory = write_part10(build_sr(SOPClassUID=MediaStorageDirectoryStorage), folder / "DICOMDIR")
    alone = saved(grey().rotate(180), tmp_path / "alone.jpeg")

    files = list(read_images([alone, folder, tmp_path / "missing"], into=tmp_path / "imported"))
    images = [file for file in files if isinstance(file, ImportedImage)]
    skipped = [file for file in files if isinstance(file, SkippedFile)]

    assert [file.path.name for file in files[1:4]] == ["IM0001", "SR0001", images[3].path.name]
    assert [image.source for image in images] == [alone, dicom, report, picture]
    assert images[1].path == dicom
    assert_allclose(load_radiograph(images[3].path).pixels, PICTURE, rtol=0, atol=1e-3)
    assert images[3].path.parent == tmp_path / "imported"
    assert [(file.path, file.reason) for file in skipped] == [
        (folder / "3.txt", "Not an image: it is neither DICOM nor PNG nor JPEG."),
        (directory, "Not an image: it is a DICOMDIR, a table of contents."),
        (tmp_path / "missing", "Not an image: the file cannot be read (FileNotFoundError)."),
    ]
    assert [file.bystander for file in skipped] == [True, False, False]


def test_a_dicom_file_without_identity_or_end_is_skipped(tmp_path: Path) -> None:
    anonymous = write_part10(build_dx(StudyInstanceUID=None), tmp_path / "1")
    cut = write_part10(build_dx(), tmp_path / "2")
    cut.write_bytes(cut.read_bytes()[:140])

    skipped = list(read_images([anonymous, cut], into=tmp_path / "imported"))

    assert all(isinstance(file, SkippedFile) for file in skipped)


def test_the_same_picture_twice_is_one_instance(tmp_path: Path) -> None:
    picture = saved(grey(), tmp_path / "a.png")

    images = read_images([picture, picture], into=tmp_path / "imported")

    assert len({dcmread(image.path).SOPInstanceUID for image in images}) == 1

"""`dicom-node analyse`: the answer of the upload page, picture and report too, without a node."""

import json
from io import BytesIO

import numpy as np
import pytest
from builders import build_dx, build_sr, phantom, write_part10
from PIL import Image
from pydicom import dcmread
from pypdf import PdfReader
from running import Node
from typer.testing import CliRunner
from web_bench import Web

from dicom_node.cli import app
from dicom_node.operate.written_results import name_folder
from dicom_node.web.roles import Role
from inference.testing import build_tiny_bundles


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    return build_tiny_bundles(tmp_path_factory.mktemp("bundles"), region="LEG")


def limb(brightest=1.0):
    """A limb with a bright square, large enough to fill the tiny models' brightest neighbourhood."""
    picture = np.full((128, 96), 0.2)
    picture[30:80, 50:90] = brightest
    return np.rint(picture * 4095).astype(np.uint16)


def node_with(folder, bundles, policy="trust pixels"):
    models = f'[models]\nbundles = "{bundles}"\nwhen_header_disagrees = "{policy}"\n[results]\nlanguage = "de"'
    node = Node(folder, {"archive": 4242}, more=models)
    node.settings.node.data_dir.mkdir()
    return node


def analyse(*words):
    finished = CliRunner().invoke(app, ["analyse", *map(str, words)])
    assert finished.exit_code == 0, finished.output
    return finished


def records(*words):
    return [json.loads(line) for line in analyse(*words, "--json").stdout.splitlines()]


@pytest.mark.parametrize(
    ("policy", "header", "decision"),
    [
        ("trust pixels", {"BodyPartExamined": "HAND"}, "fracture"),
        ("abstain", {"BodyPartExamined": "HAND"}, "not analysed"),
        ("abstain", {}, "fracture"),
    ],
)
def test_the_answer_is_that_of_the_upload_page_with_the_same_configuration(tmp_path, bundles, policy, header, decision):
    node = node_with(tmp_path, bundles, policy)
    file = write_part10(build_dx(limb(), **header), tmp_path / "image.dcm")
    (said,) = records(file, "--config", node.config)
    with Web(node.settings) as web:
        headers = {"Authorization": f"Bearer {web.token(Role.RADIOLOGIST)}", "Accept": "application/json"}
        answer = (
            web.browser().post("/predict", files={"file": ("image.dcm", file.read_bytes())}, headers=headers).json()
        )
    assert said["decision"] == decision
    assert said.pop("path") == str(file)
    assert answer["record"].pop("path") == "image.dcm"
    assert said == answer["record"]
    assert said["confidence"] == answer["confidence"]


def test_picture_and_report_are_those_of_the_upload_page(tmp_path, bundles):
    node = node_with(tmp_path, bundles)
    ds = build_dx(limb(), PatientName="Roe^Richard", ImagerPixelSpacing=["0.2", "0.1"])
    file = write_part10(ds, tmp_path / "limb.dcm")
    records(file, "--config", node.config, "--out", tmp_path / "out")
    with Web(node.settings) as web:
        (answer,) = web.app.state.site.predictions.answer([_uploaded(file)])
    folder = tmp_path / "out" / ds.StudyInstanceUID
    assert (folder / "limb.png").read_bytes() == answer.picture
    pages, theirs = (
        "".join(page.extract_text() for page in PdfReader(source).pages)
        for source in (folder / "report.pdf", BytesIO(answer.report))
    )
    assert "Roe" in pages
    assert "Fraktur" in pages  # in the language of the configuration
    assert _without_times(pages) == _without_times(theirs)
    captures = [dcmread(path) for path in folder.glob("*.dcm")]
    assert sorted(one.Modality for one in captures) == ["DOC", "OT", "OT"]


def _uploaded(file):
    from dicom_node.web.uploads import UploadedFile

    return UploadedFile(name=file.name, content=file.read_bytes())


def _without_times(text):
    return "".join(character for character in text if not character.isdigit())


def test_confidence_is_that_of_the_decision_and_is_shown(tmp_path, bundles):
    for name, brightest, decision in (("bright", 1.0, "fracture"), ("dark", 0.4, "no fracture")):
        file = write_part10(build_dx(limb(brightest)), tmp_path / f"{name}.dcm")
        (said,) = records(file, "--bundles", bundles)
        assert said["decision"] == decision
        share = said["fracture_probability"]
        assert said["confidence"] == f"{100 * (share if decision == 'fracture' else 1 - share):.1f}%"
        assert f"confidence {said['confidence']}" in analyse(file, "--bundles", bundles).stdout
    report = write_part10(build_sr(), tmp_path / "report.dcm")
    assert records(report, "--bundles", bundles)[0]["confidence"] is None


def test_files_of_one_name_have_pictures_of_their_own_and_none_is_analysed_as_a_radiograph(tmp_path, bundles):
    study = {"StudyInstanceUID": "1.2.3"}
    for number, folder in enumerate(("a", "b")):
        ds = build_dx(limb(1.0 - number * 0.6), **study, SOPInstanceUID=f"1.2.3.{number}")
        write_part10(ds, tmp_path / "in" / folder / "image.dcm")
    broken = write_part10(build_dx(phantom(96, 72), **study, SOPInstanceUID="1.2.3.9"), tmp_path / "in" / "short.dcm")
    broken.write_bytes(broken.read_bytes()[:-1000])
    out = tmp_path / "in" / "out"
    for _ in range(2):
        said = records(tmp_path / "in", "--bundles", bundles, "--out", out)
        assert sorted(one["decision"] for one in said) == ["fracture", "no fracture", "not analysed"]
        pictures = {path.name: path.read_bytes() for path in (out / "1.2.3").glob("*.png")}
        assert pictures.keys() == {"image.png", "image-2.png"}
        assert pictures["image.png"] != pictures["image-2.png"]
        for content in pictures.values():
            with Image.open(BytesIO(content)) as picture:
                assert (picture.format, picture.size) == ("PNG", (96, 128))


@pytest.mark.parametrize("uid", ["..", "../../etc", "1.2.3/../..", ".1", ""])
def test_a_study_whose_uid_is_none_names_no_folder_elsewhere(uid):
    assert "/" not in name_folder(uid)
    assert name_folder(uid).strip(".") == name_folder(uid)
    assert name_folder(uid)
    assert name_folder("1.2.3") == "1.2.3"

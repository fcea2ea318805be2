"""`dicom-node study`: the page of a study on the command line."""

import json
import re
from io import BytesIO

import pytest
from builders import build_dx, phantom
from PIL import Image
from pypdf import PdfReader
from report_pages import open_pages
from result_bench import Bench, make_study, receive_two_patients
from running import Node
from typer.testing import CliRunner
from web_bench import Web

from dicom_node.cli import app
from dicom_node.operate.study import look_at_study
from dicom_node.web.roles import Role
from inference.pipeline import Pipeline
from inference.testing import build_tiny_bundles


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    return Pipeline.load(build_tiny_bundles(tmp_path_factory.mktemp("bundles"), region="LEG"), threads=1)


@pytest.fixture
def node(tmp_path):
    node = Node(tmp_path, {"archive": 4242, "second": 4242})
    node.settings.node.data_dir.mkdir()
    return node


@pytest.fixture
def uid(node, pipeline):
    header = {"PatientName": "Roe^Richard", "AccessionNumber": "ACC-1"}
    return make_study(node.settings.node.data_dir, pipeline, **header).StudyInstanceUID


def run(node, *words):
    return CliRunner().invoke(app, ["study", *map(str, words), "--config", str(node.config)])


def views(node):
    """List who has looked at a study."""
    folder = node.settings.node.audit_dir
    lines = [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]
    return [line for line in lines if line["event"] == "study viewed"]


def test_it_says_what_the_page_says_and_no_patient(node, uid):
    shown = run(node, uid)
    assert shown.exit_code == 0, shown.output
    said = " ".join(shown.stdout.split())
    assert f"delivering {uid} version 1, 1 image" in said
    assert re.search(r"image 1 [\d.]+ LEG (fracture|no fracture|uncertain) \d+%", said)
    assert "destination archive: 3 pending" in said
    for kind in ("summary, en", "secondary capture, en", "encapsulated pdf, en"):
        assert re.search(rf"result {kind} \S+/results/\S+\.dcm", said), kind
    assert "first of 1 instance(s) received from A" in said
    assert re.search(r"\(after [\d.]+ s\)", said)
    assert f"you may dicom-node send {uid} second" in said
    assert "dicom-node retry" not in said
    for word in ("Roe", "ACC-1", "PHANTOM"):
        assert word not in shown.output
    assert views(node) == []


def test_whose_it_is_is_said_to_who_asks_for_it_and_that_is_noted(node, uid):
    assert "Roe Richard, ID PHANTOM-1, born " in run(node, uid, "--patient").stdout
    assert "accession number ACC-1" in run(node, uid, "--patient").stdout
    assert [(line["event"], line["action"], line["study_instance_uid"]) for line in views(node)] == [
        ("study viewed", "view study", uid)
    ] * 2
    assert all(line["user"] for line in views(node))
    assert "Roe" not in str(views(node))


def test_images_that_name_two_patients_are_said_to(node, pipeline):
    uid = receive_two_patients(node.settings.node.data_dir, pipeline)
    said = run(node, uid, "--patient").stdout
    assert "do not name one and the same patient" in said
    assert "Roe Richard" in said
    assert "Doe Jane" in said
    assert f"dicom-node complete {uid}" in said
    assert len(json.loads(run(node, uid, "--patient", "--json").stdout)["patients"]) == 2


def test_json_holds_the_same_and_nothing_else(node, uid):
    said = json.loads(run(node, uid, "--json").stdout)
    assert said.keys() == {"study", "images", "results", "timeline", "commands"}
    assert said["study"]["state"] == "delivering"
    assert said["images"][0]["finding"]["region"] == "LEG"
    assert {one["kind"]: one["has_file"] for one in said["results"]} == {
        "summary": True,
        "secondary capture": True,
        "encapsulated pdf": True,
    }
    assert said["timeline"][0]["what"].startswith("first of 1 instance")
    assert json.loads(run(node, uid, "--json", "--patient").stdout)["patients"][0]["accession"] == "ACC-1"


def test_report_and_pictures_are_those_of_the_page(node, uid, tmp_path):
    written = run(node, uid, "--report", tmp_path / "report.pdf", "--pictures", tmp_path / "pictures")
    assert written.exit_code == 0, written.output
    folder = tmp_path / "pictures" / uid
    assert sorted(path.name for path in folder.iterdir()) == ["image-1-overlay.png", "image-1.png"]
    assert "Roe" in "".join(page.extract_text() for page in PdfReader(tmp_path / "report.pdf").pages)
    with Web(node.settings) as web:
        browser = web.sign_in(Role.RADIOLOGIST)
        page = browser.get(f"/study/{uid}").text
        sources = re.findall(r'<img class="\w+" loading="lazy" src="([^"]+)"', page)
        report = re.search(r'href="(/study/[^"]+/report/[^"]+)"', page)[1]
        assert [browser.get(source).content for source in sources] == [
            (folder / name).read_bytes() for name in ("image-1.png", "image-1-overlay.png")
        ]
        assert browser.get(report).content == (tmp_path / "report.pdf").read_bytes()
    with Image.open(BytesIO((folder / "image-1.png").read_bytes())) as picture:
        assert picture.size == (72, 96)
    ours = [line["action"] for line in views(node) if "host" not in line]
    assert ours == ["view report", "view picture"]


def test_images_have_the_numbers_that_the_report_gives_them(node, pipeline):
    """What could not be analysed comes last there, and UIDs say nothing of the order of images."""
    bench, study = Bench(node.settings.node.data_dir, pipeline), {"StudyInstanceUID": "1.2.3"}
    small, large = phantom(40, 40), phantom(96, 72)
    for number, (uid, pixels) in enumerate([("1.2.1", small), ("1.2.9", large), ("1.2.5", large)], start=1):
        bench.receive(build_dx(pixels, InstanceNumber=number, SOPInstanceUID=uid, **study))
    made = bench.make("1.2.3")
    shown = look_at_study(node.settings, bench.store, "1.2.3")
    bench.store.close()
    assert [(one.number, one.sop_instance_uid) for one in shown.images] == [(1, "1.2.9"), (2, "1.2.5"), (3, "1.2.1")]
    (text,) = ["".join(page.extract_text() for page in open_pages(ds)) for ds in made if "EncapsulatedDocument" in ds]
    captions = re.findall(r"Image (\d): [^,]+, image (\d), DX", " ".join(text.split()))
    assert captions == [("1", "2"), ("2", "3")]


def test_both_pictures_of_oblong_pixels_have_the_shape_that_is_seen(node, pipeline, tmp_path):
    study = make_study(node.settings.node.data_dir, pipeline, ImagerPixelSpacing=[0.2, 0.1])
    folder = tmp_path / "pictures"
    run(node, study.StudyInstanceUID, "--pictures", folder)
    sizes = {path.name: Image.open(BytesIO(path.read_bytes())).size for path in folder.rglob("*.png")}
    assert sizes == dict.fromkeys(["image-1.png", "image-1-overlay.png"], (study.Columns, 2 * study.Rows))


def test_what_cannot_be_decoded_or_is_gone_is_said_and_the_rest_is_written(node, uid, tmp_path):
    (received,) = node.settings.node.spool_dir.rglob("*.dcm")
    received.write_bytes(received.read_bytes()[:-1000])
    written = run(node, uid, "--pictures", tmp_path / "pictures")
    assert written.exit_code == 1
    assert "image-1.png: there is no picture" in written.stderr
    assert [path.name for path in (tmp_path / "pictures").rglob("*.png")] == ["image-1-overlay.png"]
    received.unlink()
    assert "image-1.png: its file is no longer kept" in run(node, uid, "--pictures", tmp_path / "pictures").stderr
    assert "not known: no received file is kept" in run(node, uid, "--patient").stdout
    for file in node.settings.node.results_dir.rglob("*.dcm"):
        file.unlink()
    gone = run(node, uid, "--report", tmp_path / "report.pdf")
    assert gone.exit_code == 1
    assert "the file of its report is no longer kept" in str(gone.exception)
    assert not (tmp_path / "report.pdf").exists()
    assert "its file is no longer kept" in gone.stdout


@pytest.mark.parametrize("asked", ["1.2.3.999", "Roe^Richard", "../../etc"])
def test_an_unknown_study_is_a_plain_error_that_repeats_nothing(node, asked):
    refused = run(node, asked, "--patient")
    assert refused.exit_code == 1
    assert "no such study was received" in str(refused.exception)
    assert asked not in str(refused.exception)
    assert views(node) == []

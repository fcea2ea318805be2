"""Results of uploaded files go to an archive when an operator asks for it, and nowhere otherwise."""

import re
import socket
from io import BytesIO

import numpy as np
import pytest
from builders import build_dx, build_sr
from canary import files_below, holds_word, make_canary
from hostile_pixels import build_bomb, build_panicking_rle
from PIL import Image
from pydicom.uid import CTImageStorage, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, generate_uid
from report_pages import open_pages
from stored_rows import build_row
from typer.testing import CliRunner
from web_bench import Web, build_settings, form_token

from dicom_node.cli import app
from dicom_node.demo.archives import OrthancArchive
from dicom_node.settings import Destination, Encoding, Rule
from dicom_node.store import WorklistQuery
from dicom_node.web.roles import Role
from inference.testing import build_tiny_bundles


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    return build_tiny_bundles(tmp_path_factory.mktemp("bundles"), region="LEG")


@pytest.fixture(scope="module")
def elsewhere():
    """A destination that must not be asked: whoever connects is found out."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        yield listener


def was_asked(listener):
    try:
        listener.accept()[0].close()
    except TimeoutError:
        return False
    return True


def open_web(folder, bundles, archive_port, elsewhere, *, rules=(), **profile):
    destinations = (
        Destination(name="archive", ae_title="ARCHIVE", host="127.0.0.1", port=archive_port, **profile),
        Destination(
            name="second",
            ae_title="SECOND",
            host="127.0.0.1",
            port=elsewhere.getsockname()[1],
            connection_timeout_s=1,
            response_timeout_s=1,
        ),
    )
    settings = build_settings(folder, bundles=bundles, largest_upload_mb=20.0)
    update = {"destinations": destinations, "rules": tuple(map(Rule.model_validate, rules))}
    web = Web(settings.model_copy(update=update))
    web.operator = web.sign_in(Role.OPERATOR)
    return web


@pytest.fixture(scope="module")
def module_web(tmp_path_factory, bundles, builtin_archive, elsewhere):
    with open_web(tmp_path_factory.mktemp("node"), bundles, builtin_archive.port, elsewhere) as web:
        yield web


@pytest.fixture
def web(module_web, elsewhere):
    yield module_web
    assert not was_asked(elsewhere)


@pytest.fixture
def open_node(bundles, builtin_archive, elsewhere):
    """Open a node of a test's own."""
    yield lambda folder, **options: open_web(folder, bundles, builtin_archive.port, elsewhere, **options)
    assert not was_asked(elsewhere)


def radiograph(**attributes):
    attributes = {"StudyInstanceUID": generate_uid(), **attributes}
    pixels = np.full((128, 96), 800, np.uint16)
    pixels[30:80, 50:90] = 4095
    return build_dx(pixels, **attributes)


def encode(ds):
    buffer = BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def picture(kind):
    buffer = BytesIO()
    Image.fromarray(np.full((128, 96), 50, np.uint8)).save(buffer, kind)
    return buffer.getvalue()


def send(web, *contents, to="archive", browser=None):
    browser = browser or web.operator
    files = [("file", (f"<b>{number}", content)) for number, content in enumerate(contents)]
    data = {"form_token": form_token(browser, "/upload"), "destination": to}
    return browser.post("/upload/send", files=files, data=data)


def refusal(answer):
    """Return why nothing was sent."""
    assert answer.status_code == 422, answer.text
    return re.search(r'<p role="alert" class="wrong">Nothing was sent. (.*?)</p>', answer.text)[1]


def test_nothing_is_sent_unasked(tmp_path, bundles, elsewhere):
    """The form names a destination, which finds out who connects, and is not that of sending."""
    with open_web(tmp_path, bundles, elsewhere.getsockname()[1], elsewhere) as web:
        data = {"form_token": form_token(web.operator, "/upload"), "destination": "second"}
        page = web.operator.post("/upload", files={"file": ("a", encode(radiograph()))}, data=data)
        assert "<strong>Fracture</strong>" in page.text
        headers = {"Authorization": f"Bearer {web.token(Role.ADMINISTRATOR)}", "Accept": "application/json"}
        files = {"file": ("a.dcm", encode(radiograph()))}
        assert web.browser().post("/predict", files=files, data=data, headers=headers).status_code == 200
        assert not was_asked(elsewhere)
        # Asked for, it does connect: that is what finds out.
        send(web, encode(radiograph()), to="second")
        assert was_asked(elsewhere)


def test_the_archive_has_the_results_in_the_patients_study_and_not_the_image(web, builtin_archive):
    ds = radiograph(PatientName="Müller^Änne", PatientID="P-77", SpecificCharacterSet="ISO_IR 100")
    page = send(web, encode(ds)).text
    assert "archive has taken all 3 results of study" in page
    assert "What they say of the images: fracture</p>" in page
    found = builtin_archive.instances_of(ds.StudyInstanceUID)
    assert sorted(one.SOPClassUID.name for one in found) == [
        "Encapsulated PDF Storage",
        "Secondary Capture Image Storage",
        "Secondary Capture Image Storage",
    ]
    assert {(str(one.PatientName), one.PatientID) for one in found} == {("Müller^Änne", "P-77")}
    assert ds.SOPInstanceUID not in {one.SOPInstanceUID for one in found}


def test_nothing_of_it_stays_and_the_worklist_knows_nothing_of_it(web):
    ds = make_canary(radiograph())
    assert send(web, encode(ds)).status_code == 200
    folder = web.settings.node.data_dir
    assert list(web.settings.node.uploads_dir.iterdir()) == []
    assert [name for name, kept in files_below(folder) if holds_word(kept)] == []
    assert web.store.worklist(WorklistQuery()) == ([], 0)


def test_the_audit_trail_says_who_has_sent_what_where(web):
    ds = radiograph(PatientName="Roe^Richard")
    send(web, encode(ds))
    trail = "".join(path.read_text() for path in web.settings.node.audit_dir.iterdir())
    lines = [line for line in trail.splitlines() if ds.StudyInstanceUID in line]
    assert any("send uploaded" in line and '"operator"' in line for line in lines)
    assert any("archive" in line and '"success":true' in line for line in lines)
    assert "Roe" not in trail


def test_two_images_of_a_study_are_answered_by_one_report(web, builtin_archive):
    study = generate_uid()
    files = [encode(radiograph(StudyInstanceUID=study, InstanceNumber=number)) for number in (1, 2)]
    assert "archive has taken all 4 results" in send(web, *files).text
    kinds = [one.Modality for one in builtin_archive.instances_of(study)]
    assert kinds.count("DOC") == 1


def test_sent_twice_the_results_are_the_same_objects(web, builtin_archive):
    content = encode(ds := radiograph())
    for _ in range(2):
        assert "archive has taken all 3 results" in send(web, content).text
    assert len({one.SOPInstanceUID for one in builtin_archive.instances_of(ds.StudyInstanceUID)}) == 3


@pytest.mark.orthanc
def test_an_orthanc_holds_them_once_however_often_they_are_sent(tmp_path, bundles, elsewhere):
    orthanc = OrthancArchive(tmp_path / "orthanc", elsewhere.getsockname()[1])
    orthanc.start()
    try:
        with open_web(tmp_path / "node", bundles, orthanc.port, elsewhere) as web:
            content = encode(ds := radiograph())
            for _ in range(2):
                assert "archive has taken all 3 results" in send(web, content).text
            assert len(orthanc.instances_of(ds.StudyInstanceUID)) == 3
    finally:
        orthanc.stop()


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_picture_is_refused_for_it_names_no_patient(web, kind):
    said = refusal(send(web, picture(kind)))
    assert said.startswith("&lt;b&gt;0: it is no DICOM file: a picture names no patient")


def test_with_a_picture_among_them_nothing_is_sent_at_all(web, builtin_archive):
    ds = radiograph()
    refusal(send(web, encode(ds), picture("PNG")))
    assert builtin_archive.instances_of(ds.StudyInstanceUID) == []


def of_class(sop_class):
    ds = radiograph(SOPClassUID=sop_class)
    ds.file_meta.MediaStorageSOPClassUID = sop_class
    return ds


def without(keyword):
    ds = radiograph()
    delattr(ds, keyword)
    return ds


def in_syntax(syntax):
    ds = radiograph()
    ds.file_meta.TransferSyntaxUID = syntax
    return ds


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (build_sr, "it is no radiograph"),
        (lambda: of_class(CTImageStorage), "it is no radiograph"),
        (lambda: radiograph(ImageType=["DERIVED", "SECONDARY"]), "it is no radiograph"),
        (lambda: without("StudyInstanceUID"), "no (0020,000D) Study Instance UID"),
        (lambda: radiograph(StudyInstanceUID="../../x"), "a UID holds other than 64 digits and dots"),
        (lambda: in_syntax(DeflatedExplicitVRLittleEndian), "the transfer syntax is none that this node accepts"),
        (lambda: in_syntax(ExplicitVRBigEndian), "the transfer syntax is none that this node accepts"),
        (
            lambda: radiograph(PresentationIntentType="FOR PROCESSING"),
            "Nothing of it is analysed: It is For Processing",
        ),
        (
            lambda: radiograph(BodyPartExamined="CHEST", AnatomicRegionSequence=None),
            "Nothing of it is analysed: It is outside the scope",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_would_not_be_analysed_if_it_were_received_is_refused(web, build, reason):
    assert reason in refusal(send(web, encode(build())))


def test_a_result_of_the_node_is_refused(web, builtin_archive):
    ds = radiograph()
    send(web, encode(ds))
    for result in builtin_archive.instances_of(ds.StudyInstanceUID):
        assert "it is a result of this node" in refusal(send(web, encode(result)))
    assert len(builtin_archive.instances_of(ds.StudyInstanceUID)) == 3


def test_a_study_that_the_node_has_received_is_sent_from_its_own_page(tmp_path, open_node):
    ds = radiograph()
    with open_node(tmp_path) as web:
        web.store.add_instances([build_row("1.2.3", ds.StudyInstanceUID)])
        assert "The node has received this study" in refusal(send(web, encode(ds)))


def test_files_that_are_not_one_study_of_one_patient_are_refused(web):
    one, other = radiograph(), radiograph()
    assert "of several studies" in refusal(send(web, encode(one), encode(other)))
    assert "one image is there twice" in refusal(send(web, encode(one), encode(one))).lower()
    two = radiograph(StudyInstanceUID=one.StudyInstanceUID, PatientID="SOMEBODY-ELSE")
    assert "different Patient IDs" in refusal(send(web, encode(one), encode(two)))


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ({"action": "exclude"}, "The rule &#39;x&#39; of this site leaves the study out."),
        ({"action": "exclude", "say": True}, "The rule &#39;x&#39; of this site leaves the study out."),
        ({"destinations": ["second"]}, "The rule &#39;x&#39; of this site sends its results to other destinations."),
    ],
)
def test_the_rules_decide_about_it_too(tmp_path, open_node, builtin_archive, rule, reason):
    ds = radiograph()
    with open_node(tmp_path, rules=[{"name": "x", **rule}]) as web:
        assert refusal(send(web, encode(ds))) == reason
    assert builtin_archive.instances_of(ds.StudyInstanceUID) == []


def test_a_destination_gets_the_forms_that_it_wants(tmp_path, open_node, builtin_archive):
    ds = radiograph()
    wanted = (Encoding.SECONDARY_CAPTURE, Encoding.STRUCTURED_REPORT)
    with open_node(tmp_path, results=wanted) as web:
        assert "archive has taken all 3 results" in send(web, encode(ds)).text
    assert sorted(one.Modality for one in builtin_archive.instances_of(ds.StudyInstanceUID)) == ["OT", "OT", "SR"]


@pytest.mark.parametrize(("own", "expected"), [("", "de"), ("fr", "fr")], ids=["destination's", "rule's"])
def test_results_are_in_the_language_of_the_rule_or_else_of_the_destination(
    tmp_path, open_node, builtin_archive, own, expected
):
    ds = radiograph()
    with open_node(tmp_path, rules=[{"name": "x", "language": own}], language="de") as web:
        send(web, encode(ds))
    (report,) = (one for one in builtin_archive.instances_of(ds.StudyInstanceUID) if one.Modality == "DOC")
    text = " ".join(page.extract_text() for page in open_pages(report))
    assert {code for code, word in {"de": "Geburtsdatum", "fr": "Date de naissance"}.items() if word in text} == {
        expected
    }


def test_an_archive_that_is_away_is_said_to_be(tmp_path, bundles, elsewhere):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with open_web(tmp_path, bundles, port, elsewhere) as web:
        answer = send(web, encode(radiograph()))
        assert "archive has taken 0 of 3 results" in answer.text
        assert "nothing listens there" in answer.text
        assert list(web.settings.node.uploads_dir.iterdir()) == []


@pytest.mark.parametrize("to", ["", "no such"])
def test_without_a_destination_nothing_is_sent(web, to):
    assert refusal(send(web, encode(radiograph()), to=to)) == "There is no such destination."


@pytest.mark.parametrize("build", [build_bomb, build_panicking_rle])
def test_a_hostile_image_costs_a_sentence_and_the_next_is_sent(web, build):
    answer = send(web, encode(build()))
    assert answer.status_code in {200, 422}
    assert "Traceback" not in answer.text
    assert "archive has taken all 3 results" in send(web, encode(radiograph())).text


def test_only_an_operator_may_send_and_only_by_the_form_of_the_session(web, builtin_archive):
    reader = web.sign_in(Role.RADIOLOGIST)
    ds = radiograph()
    assert send(web, encode(ds), browser=reader).status_code == 403
    assert "/upload/send" not in reader.get("/upload").text
    assert "/upload/send" in web.operator.get("/upload").text
    data = {"form_token": "0" * 64, "destination": "archive"}
    assert web.operator.post("/upload/send", files={"file": ("a", encode(ds))}, data=data).status_code == 403
    assert builtin_archive.instances_of(ds.StudyInstanceUID) == []


def test_the_command_does_the_same(tmp_path, bundles, builtin_archive, elsewhere):
    config = tmp_path / "node.toml"
    config.write_text(
        f'[node]\nae_title = "FRACTUREAI"\ndata_dir = "{tmp_path / "data"}"\n[models]\nbundles = "{bundles}"\n'
        '[[senders]]\nae_title = "A"\n'
        f'[[destinations]]\nname = "archive"\nae_title = "ARCHIVE"\nhost = "127.0.0.1"\nport = {builtin_archive.port}\n'
    )
    ds = radiograph()
    (tmp_path / "a.dcm").write_bytes(encode(ds))
    (tmp_path / "a.png").write_bytes(picture("PNG"))
    run = CliRunner()
    sent = run.invoke(app, ["send-files", "archive", str(tmp_path / "a.dcm"), "--config", str(config)])
    assert sent.exit_code == 0, sent.output
    assert "archive has taken all 3 results" in sent.output
    assert len(builtin_archive.instances_of(ds.StudyInstanceUID)) == 3
    refused = run.invoke(app, ["send-files", "archive", str(tmp_path / "a.png"), "--config", str(config)])
    assert refused.exit_code == 1
    assert "a picture names no patient" in str(refused.exception)
    assert not was_asked(elsewhere)

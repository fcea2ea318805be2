"""Upload and `POST /predict`: the answer, what is refused, and that nothing of it stays."""

import base64
import re
import subprocess
import sys
import tempfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from builders import build_dx, build_sr, phantom
from canary import files_below, holds_word, make_canary
from hostile_pixels import build_bomb, build_panicking_rle
from PIL import Image
from web_bench import PASSWORD, Web, build_settings, form_token

from dicom_node.web.roles import Role
from inference.testing import build_tiny_bundles


@pytest.fixture(scope="module")
def web(tmp_path_factory):
    bundles = build_tiny_bundles(tmp_path_factory.mktemp("bundles"), region="LEG")
    settings = build_settings(tmp_path_factory.mktemp("node"), bundles=bundles, largest_upload_mb=2.0)
    with Web(settings) as web:
        web.program = {"Authorization": f"Bearer {web.token(Role.RADIOLOGIST)}", "Accept": "application/json"}
        web.reader = web.sign_in(Role.RADIOLOGIST)
        yield web


def encode(ds):
    buffer = BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def shape(bits=8, brightest=1.0):
    """Draw a limb with a bright square, large enough to fill the tiny models' brightest neighbourhood."""
    picture = np.full((128, 96), 0.2)
    picture[30:80, 50:90] = brightest
    return np.rint(picture * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16)


def draw(kind, brightest=1.0):
    buffer = BytesIO()
    Image.fromarray(shape(brightest=brightest)).save(buffer, kind)
    return buffer.getvalue()


def predict(web, content, name="image.dcm", **headers):
    return web.browser().post("/predict", files={"file": (name, content)}, headers=web.program | headers)


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.dcm", encode(build_dx(shape(12)))), ("a.png", draw("PNG")), ("a.jpg", draw("JPEG"))],
)
def test_dicom_png_and_jpeg_are_answered(web, name, content):
    answer = predict(web, content, name)
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert said["prediction"] == said["record"]["decision"] == "fracture"
    assert said["confidence"] == f"{100 * said['record']['fracture_probability']:.1f}%"
    assert said["record"]["path"] == name
    assert said["record"]["region"] == "LEG"
    assert "diagnos" in said["disclaimer"]
    with Image.open(BytesIO(base64.b64decode(said["image_base64"]))) as picture:
        assert (picture.format, picture.size, picture.mode) == ("PNG", (96, 128), "RGB")
        red, _, blue = (np.asarray(picture).astype(int)[..., channel] for channel in range(3))
    assert (red - blue > 60).any()  # it is annotated: the heat is coloured


def test_confidence_is_that_of_what_is_predicted(web):
    said = predict(web, draw("PNG", brightest=0.4), "dark.png").json()
    assert said["prediction"] == "no fracture"
    assert said["record"]["fracture_probability"] < 0.5
    assert said["confidence"] == f"{100 * (1 - said['record']['fracture_probability']):.1f}%"


def test_an_image_that_is_not_analysed_says_why_and_is_shown(web):
    said = predict(web, encode(build_dx(phantom(96, 72), BodyPartExamined="CHEST", AnatomicRegionSequence=None))).json()
    assert (said["prediction"], said["confidence"]) == ("not analysed", None)
    assert said["record"]["reason"]
    with Image.open(BytesIO(base64.b64decode(said["image_base64"]))) as picture:
        assert picture.size == (72, 96)


@pytest.mark.parametrize(
    "content",
    [
        b"no image at all",
        b"\x89PNG\r\n\x1a\n" + b"broken",
        encode(build_sr()),
        encode(build_bomb()),
        encode(build_panicking_rle()),
        encode(build_dx(phantom(96, 72)))[:-100],
    ],
    ids=["text", "broken png", "report", "bomb", "panic", "short"],
)
def test_a_hostile_file_costs_a_sentence_and_the_next_is_answered(web, content):
    answer = predict(web, content)
    assert answer.status_code == 422
    assert 10 < len(answer.json()["detail"]) < 400
    assert "Traceback" not in answer.text
    assert predict(web, draw("PNG"), "a.png").status_code == 200


def test_only_programs_that_may_see_patients_are_answered(web):
    files = {"file": ("a.png", draw("PNG"))}
    assert web.browser().post("/predict", files=files).status_code == 401
    wrong = {"Authorization": "Bearer wrong"}
    assert web.browser().post("/predict", files=files, headers=wrong).status_code == 401
    assert web.reader.post("/predict", files=files).status_code == 401  # a session is no token
    viewer = {"Authorization": f"Bearer {web.token(Role.VIEWER)}"}
    assert web.browser().post("/predict", files=files, headers=viewer).status_code == 403


def test_what_is_no_form_with_one_file_is_refused(web):
    browser, headers = web.browser(), web.program
    assert browser.post("/predict", content=b"{}", headers=headers).status_code == 415
    assert browser.post("/predict", files={"other": ("a", b"x")}, headers=headers).status_code == 400
    two = [("file", ("a.png", draw("PNG"))), ("file", ("b.png", draw("PNG")))]
    assert browser.post("/predict", files=two, headers=headers).status_code == 400
    broken = headers | {"Content-Type": "multipart/form-data; boundary=x"}
    assert browser.post("/predict", content=b"--y\r\n", headers=broken).status_code == 400
    unbounded = headers | {"Content-Type": "multipart/form-data"}
    assert browser.post("/predict", content=b"", headers=unbounded).status_code == 400


def test_an_upload_larger_than_the_limit_is_refused_also_where_it_does_not_say_so(web):
    assert predict(web, b"0" * 2_100_000).status_code == 413

    def chunks():
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(30):
            yield b"0" * 100_000

    headers = web.program | {"Content-Type": "multipart/form-data; boundary=b"}
    assert web.browser().post("/predict", content=chunks(), headers=headers).status_code == 413


def test_more_than_four_uploads_at_once_are_refused_and_not_queued(web):
    places = web.app.state.site.predictions._places  # noqa: SLF001  # as four that are worked on hold them
    held = [places.acquire(blocking=False) for _ in range(4)]
    try:
        refused = predict(web, draw("PNG"), "a.png")
    finally:
        for _ in held:
            places.release()
    assert all(held)
    assert refused.status_code == 503
    assert refused.headers["retry-after"]
    assert predict(web, draw("PNG"), "a.png").status_code == 200


def test_nothing_of_an_upload_stays_or_is_sent(web, monkeypatch):
    used = Path(tempfile.mkdtemp())
    monkeypatch.setattr(tempfile, "tempdir", str(used))
    content = encode(make_canary(build_dx(phantom(512, 400))))
    assert holds_word(content)
    assert predict(web, content, "Zqxwkjvp0001.dcm").status_code == 200
    folder = web.settings.node.data_dir
    assert list((folder / "uploads").iterdir()) == []
    assert [name for name, kept in files_below(folder) if holds_word(kept)] == []
    assert list(used.iterdir()) == []
    assert web.store.open_studies() == []


def test_the_page_shows_each_answer_and_each_problem(web):
    browser = web.reader
    files = [("file", ("<b>a.png", draw("PNG"))), ("file", ("b.txt", b"text"))]
    page = browser.post("/upload", files=files, data={"form_token": form_token(browser, "/upload")}).text
    assert "<strong>Fracture</strong>, confidence " in page
    assert "&lt;b&gt;a.png" in page
    assert "Not an image" in page
    report = re.search(r'data:application/pdf;base64,([^"]+)"', page)[1]
    assert base64.b64decode(report).startswith(b"%PDF-")
    assert 'src="data:image/png;base64,' in page


def test_an_upload_without_the_token_of_the_form_is_refused(web):
    files = {"file": ("a.png", draw("PNG"))}
    assert web.reader.post("/upload", files=files).status_code == 403
    assert web.reader.post("/upload", files=files, data={"form_token": "0" * 64}).status_code == 403


def test_a_viewer_uploads_nothing(web):
    browser = web.browser()
    name = web.add_user(Role.VIEWER)
    browser.post("/login", data={"name": name, "password": PASSWORD})
    assert browser.get("/upload").status_code == 403
    data = {"form_token": form_token(browser)}
    assert browser.post("/upload", files={"file": ("a.png", draw("PNG"))}, data=data).status_code == 403


def test_the_description_names_what_a_program_needs(web):
    description = web.browser().get("/openapi.json").json()
    operation = description["paths"]["/predict"]["post"]
    assert "file" in operation["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    assert operation["security"] == [{"HTTPBearer": []}]
    assert {"200", "400", "401", "403", "413", "415", "422", "503"} <= operation["responses"].keys()
    answer = description["components"]["schemas"]["Prediction"]["required"]
    assert {"prediction", "confidence", "image_base64", "record"} <= set(answer)
    assert set(description["paths"]) == {"/healthz", "/readyz", "/studies", "/predict"}


def test_the_web_process_has_no_models_and_no_decoders():
    program = (
        "import sys, dicom_node.web.server; "
        "print([one for one in ('onnxruntime', 'cv2', 'reportlab', 'highdicom', 'tensorflow') if one in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"

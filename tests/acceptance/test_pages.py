"""The pages in a real browser, on a running node: what a person sees and does, with mouse and keyboard."""

import os
import time
from base64 import b64encode
from contextlib import closing
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from builders import build_dx, write_part10
from chromium_browser import running_chromium
from PIL import Image
from pydicom.uid import generate_uid
from running import NODE, Node, dcmsend, wait_for
from web_bench import PASSWORD

from dicom_node.languages import load_language
from dicom_node.store import Accounts
from dicom_node.store.web_schema import web_sessions
from dicom_node.web.roles import Role
from dicom_node.web.sign_in import build_user
from inference.testing import build_tiny_bundles

pytestmark = [pytest.mark.chromium, pytest.mark.dcmtk]

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

PATIENCE_MS = 60_000
"""A node and a browser on a busy machine take long."""
HOSTILE = "<script>document.title='owned'</script>"
SCREENSHOTS = os.environ.get("DICOM_NODE_SCREENSHOTS")
"""Folder for pictures of the pages, to be looked at; none are made without it."""

CONTRAST = """() => {
  const light = ([r, g, b]) => {
    const linear = (v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    const [x, y, z] = [r, g, b].map((v) => linear(v / 255));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const colour = (text) => text.match(/[\\d.]+/g).map(Number);
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const found = colour(getComputedStyle(one).backgroundColor);
      if (found.length < 4 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const element of document.querySelectorAll("body *")) {
    const says = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!says || element.closest(".skip, .unseen")) continue;
    const [a, b] = [light(colour(getComputedStyle(element).color)), light(behind(element))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) poor.push(element.outerHTML.slice(0, 80));
  }
  return poor;
}"""
"""Names the elements whose text has less contrast than WCAG 2.1 AA asks for (1.4.3: 4.5 to 1)."""
UNLABELLED = """() => [...document.querySelectorAll("input:not([type=hidden]), select, meter, img, button, .frame")]
  .filter((one) => !(one.labels && one.labels.length) && !one.getAttribute("aria-label") && !one.alt
    && !one.textContent.trim()).map((one) => one.outerHTML)"""
"""Names the controls and pictures that a screen reader would have no name for."""
REACHED = """() => {
  const text = (of) => [...of.childNodes].filter((one) => one.nodeType === 3).map((one) => one.textContent).join("");
  const one = document.activeElement;
  const { outlineStyle, outlineWidth } = getComputedStyle(one);
  const name = one.labels && one.labels.length ? text(one.labels[0]) : text(one);
  return [name.trim(), outlineStyle !== "none" && parseFloat(outlineWidth) >= 2];
}"""
"""Says what the keyboard has reached, and whether it is seen to be."""
DROPPED = """([name, content]) => {
  const bytes = Uint8Array.from(atob(content), (one) => one.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name));
  return transfer;
}"""
"""Makes what a browser hands over when a file is dropped."""
PAGES = ("Worklist", "Upload", "Statistics", "Rules", "Doctor", "Conformance", "Account", "Users")
"""Those that the navigation leads an administrator to, in its order."""


@pytest.fixture(scope="module")
def node(tmp_path_factory, builtin_archive):
    folder = tmp_path_factory.mktemp("node")
    bundles = build_tiny_bundles(folder / "bundles", region="LEG")
    node = Node(folder, {"archive": builtin_archive.port}, quiet_s=3, more=f'[models]\nbundles = "{bundles}"')
    node.start()
    yield node
    node.stop()


@pytest.fixture(scope="module")
def chromium():
    with running_chromium() as browser:
        yield browser


class Visit:
    """A browser of its own, in which nobody is signed in; remembers every complaint of the page."""

    def __init__(self, chromium, node, locale="en-US"):
        web = node.settings.web
        self.node = node
        self.language = locale[:2]
        self.context = chromium.new_context(
            base_url=f"http://{web.host}:{web.port}", viewport={"width": 1200, "height": 900}, locale=locale
        )
        self.context.set_default_timeout(PATIENCE_MS)
        self.page = self.context.new_page()
        self.complaints = []
        self.addresses = []
        self.page.on("console", lambda one: self.complaints.append(one.text) if one.type == "error" else None)
        self.page.on("pageerror", lambda one: self.complaints.append(str(one)))
        self.page.on("dialog", lambda one: self.complaints.append(f"dialog {one.message}"))
        self.page.on("request", lambda one: self.addresses.append(one.url))

    def open(self, path):
        self.page.goto(path)
        return self

    def sign_in(self, name, password=PASSWORD):
        self.open("/login")
        self.page.locator("#name").fill(name)
        self.page.locator("#password").fill(password)
        self.page.locator("button").click()
        self.page.wait_for_load_state()
        return self

    def check(self, name):
        """Look at what is on the page now: contrast, labels, titles."""
        assert self.page.evaluate(CONTRAST) == []
        assert self.page.evaluate(UNLABELLED) == []
        assert self.page.title().endswith("dicom-node")
        assert self.page.locator("html").get_attribute("lang") == self.language
        assert self.page.locator("h1").count() == 1
        if SCREENSHOTS:
            self.page.screenshot(path=Path(SCREENSHOTS) / f"{name}.png", full_page=True)


@pytest.fixture
def visit(chromium, node):
    visit = Visit(chromium, node)
    yield visit
    visit.context.close()


@pytest.fixture(scope="module")
def administrator(chromium, node):
    """The first user, made with the token in the file as an administrator would."""
    wait_for("the web process has drawn the token", node.settings.node.first_run_file.exists, within_s=120)
    visit = Visit(chromium, node)
    wait_for("the pages answer", lambda: _answers(visit), within_s=120)
    page = visit.page
    assert page.url.endswith("/first-run")
    visit.check("first_run")
    page.get_by_label("Token").fill(node.settings.node.first_run_file.read_text().strip())
    page.get_by_label("Name").fill("anna")
    page.get_by_label("Password (12").fill(PASSWORD)
    page.get_by_label("Password again").fill(PASSWORD)
    page.get_by_role("button", name="Make the first user").click()
    page.wait_for_url("**/")
    yield visit
    visit.context.close()


@pytest.fixture(scope="module")
def received(administrator, node, tmp_path_factory):
    """A study that is analysed and delivered."""
    if not node.states():
        path = write_part10(build_radiograph(), tmp_path_factory.mktemp("study") / "study.dcm")
        dcmsend(node.port, path, calling="ARCHIVE", called=NODE)
    wait_for("the study is delivered", lambda: "done" in node.states(), within_s=120)
    return administrator


def build_radiograph(**attributes):
    """Build a radiograph with a bright square, which the models take for a fracture."""
    pixels = np.full((512, 384), 800, np.uint16)
    pixels[120:300, 200:330] = 4095
    return build_dx(pixels, **attributes)


def _answers(visit):
    try:
        visit.open("/")
    except playwright.Error:
        return False
    return True


def test_a_study_is_followed_from_its_arrival_to_the_archive(administrator, node, builtin_archive, tmp_path):
    """Nobody reloads: the list follows by itself. The patient has a name that is a script."""
    page = administrator.page
    assert page.get_by_text("No study is like that").is_visible()
    ds = build_radiograph(PatientName=HOSTILE, AccessionNumber="ACC-77")
    dcmsend(node.port, write_part10(ds, tmp_path / "study.dcm"), calling="ARCHIVE", called=NODE)
    page.locator("tbody .state").wait_for()
    page.locator(".state.done").wait_for()
    # This archive offers neither storage commitment nor C-FIND: its Success is believed.
    assert "3 sent / 0 committed / 0 verified of 3" in page.locator("tbody tr").inner_text()
    assert HOSTILE in page.locator("tbody tr").inner_text()
    assert len(builtin_archive.instances_of(ds.StudyInstanceUID)) == 3
    administrator.check("worklist")
    page.get_by_label("Study UID or accession").fill("acc-77")
    page.keyboard.press("Enter")
    page.get_by_role("link", name=ds.StudyInstanceUID).click()
    page.wait_for_url(f"**/study/{ds.StudyInstanceUID}")
    look_at_pictures(page)
    assert HOSTILE.replace("^", " ") in page.locator(".facts").inner_text()
    assert "revision" in page.locator("table").last.inner_text()
    administrator.check("study")
    assert page.title() == "Study · dicom-node"
    assert administrator.complaints == []
    assert not [one for one in administrator.addresses if "script%3E" in one or "ACC-77" in one or "acc-77" in one]
    assert {one.split("/")[2] for one in administrator.addresses if one.startswith("http")} == {
        f"127.0.0.1:{node.settings.web.port}"
    }
    assert HOSTILE not in node.log


def wait_for_picture(page, selector):
    """Wait by asking: a function that waits inside the page is what the content security policy forbids."""
    drawn = f"document.querySelector('{selector}').naturalWidth"
    wait_for(f"{selector} is drawn", lambda: page.evaluate(drawn) > 0, within_s=60)


def look_at_pictures(page):
    """The overlay lies on the radiograph pixel by pixel; the keyboard moves its opacity and the zoom."""
    for kind in ("original", "overlay"):
        wait_for_picture(page, f".{kind}")
    sizes = page.evaluate(
        "[...document.querySelectorAll('.layers img')].map((one) =>"
        " [one.naturalWidth, one.naturalHeight, one.offsetWidth, one.offsetHeight, one.offsetTop])"
    )
    assert sizes[0] == sizes[1]
    assert sizes[0][:2] == [384, 512]
    page.get_by_label("Overlay").focus()
    page.keyboard.press("Home")
    assert page.evaluate("document.querySelector('.overlay').style.opacity") == "0"
    page.keyboard.press("End")
    assert page.evaluate("document.querySelector('.overlay').style.opacity") == "1"
    page.get_by_label("Zoom").focus()
    page.keyboard.press("End")
    assert page.evaluate(
        "document.querySelector('.layers').offsetWidth > 4 * document.querySelector('.frame').offsetWidth"
    )
    page.keyboard.press("Home")


@pytest.mark.usefixtures("administrator")
def test_a_wrong_password_is_said_to_be_wrong(visit):
    visit.sign_in("anna", "not the password")
    assert visit.page.get_by_role("alert").inner_text() == "Name or password is wrong."
    visit.check("wrong_password")
    assert not visit.context.cookies()


@pytest.mark.usefixtures("administrator")
def test_a_session_that_has_ended_leads_to_signing_in_without_a_click(visit, node):
    visit.sign_in("anna")
    assert visit.page.get_by_role("heading", name="Worklist").is_visible()
    (cookie,) = visit.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    with closing(Accounts(node.settings.database_url)) as accounts, accounts._writing() as connection:  # noqa: SLF001  # as nothing but time does
        connection.execute(web_sessions.update().where(web_sessions.c.begun_at > time.time() - 30).values(seen_at=1.0))
    visit.page.wait_for_url("**/login?ended=1")
    assert visit.page.get_by_role("status").inner_text() == "Your session has ended. Please sign in again."


@pytest.mark.usefixtures("administrator")
def test_a_file_that_is_uploaded_is_answered(visit, tmp_path):
    visit.sign_in("anna").open("/upload")
    pixels = np.full((512, 384), 50, np.uint8)
    pixels[120:300, 200:330] = 255
    Image.fromarray(pixels).save(tmp_path / "hand.png")
    (tmp_path / "note.txt").write_text("no image")
    visit.page.get_by_label("Drop files here").set_input_files([tmp_path / "hand.png", tmp_path / "note.txt"])
    visit.page.get_by_role("button", name="Analyse", exact=True).click()
    visit.page.locator("img.answer").wait_for()
    wait_for_picture(visit.page, "img.answer")
    assert "Not an image" in visit.page.get_by_role("alert").inner_text()
    with visit.page.expect_download() as download:
        visit.page.get_by_role("link", name="Save the report").click()
    assert Path(download.value.path()).read_bytes().startswith(b"%PDF-")
    visit.check("upload")
    assert visit.complaints == []


@pytest.mark.usefixtures("administrator")
@pytest.mark.parametrize(("address", "says"), [("/upload", "Save the report"), ("/rules", "Analysed: no rule holds")])
def test_a_file_that_is_dropped_is_answered_without_a_click(visit, address, says):
    content = BytesIO()
    build_radiograph().save_as(content, enforce_file_format=True)
    page = visit.sign_in("anna").open(address).page
    dropped = page.evaluate_handle(DROPPED, ["a.dcm", b64encode(content.getvalue()).decode()])
    page.dispatch_event("#drop", "dragenter", {"dataTransfer": dropped})
    page.dispatch_event("#drop", "dragover", {"dataTransfer": dropped})
    assert page.locator("#drop.over").is_visible()
    page.dispatch_event("#drop", "drop", {"dataTransfer": dropped})
    page.locator("section.image").wait_for()
    assert says in page.locator("section.image").inner_text()
    assert page.locator("#drop.over").count() == 0
    assert page.evaluate("document.getElementById('file').files[0].name") == "a.dcm"
    assert visit.complaints == []


@pytest.mark.usefixtures("administrator")
def test_the_results_of_an_upload_are_sent_once_it_was_seen_and_asked_for(visit, builtin_archive, tmp_path):
    ds = build_radiograph(StudyInstanceUID=generate_uid())
    visit.sign_in("anna").open("/upload")
    visit.page.get_by_label("Drop files here").set_input_files([write_part10(ds, tmp_path / "a.dcm")])
    visit.page.get_by_role("button", name="Analyse", exact=True).click()
    visit.page.locator("img.answer").wait_for()
    assert builtin_archive.instances_of(ds.StudyInstanceUID) == []
    visit.page.get_by_label("Destination").select_option("archive")
    visit.page.get_by_role("button", name="Analyse and send the results").click()
    visit.page.get_by_text("archive has taken all 3 results").wait_for()
    assert len(builtin_archive.instances_of(ds.StudyInstanceUID)) == 3
    visit.check("upload_sent")
    visit.open("/")
    assert ds.StudyInstanceUID not in visit.page.content()
    assert visit.complaints == []


def tab_to(page, name):
    """Press Tab until what is called so is reached; return what was passed on the way, all of it seen to be reached."""
    passed = []
    for _ in range(40):
        page.keyboard.press("Tab")
        reached, is_seen = page.evaluate(REACHED)
        assert is_seen, f"nothing shows that the keyboard is at {reached!r}"
        if reached == name:
            return passed
        passed.append(reached)
    return pytest.fail(f"Tab does not lead to {name!r}, but to {passed}")


@pytest.mark.usefixtures("administrator")
def test_every_page_is_reached_with_the_tab_key_alone(visit):
    page = visit.sign_in("anna").page
    assert tab_to(page, "Sign out") == ["Skip to content", *PAGES]
    for place, label in reversed([*enumerate(PAGES)]):
        page.reload()
        assert tab_to(page, label) == ["Skip to content", *PAGES[:place]]
        page.keyboard.press("Enter")
        page.wait_for_url("**/" if label == "Worklist" else f"**/{label.lower()}")
        assert page.locator("[aria-current]").inner_text() == label
        visit.check(f"{label.lower()}_empty" if label in {"Worklist", "Upload"} else label.lower())
    tab_to(page, "Skip to content")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    assert tab_to(page, "State") == []
    assert visit.complaints == []


@pytest.mark.usefixtures("administrator")
def test_search_upload_and_signing_out_need_no_mouse(visit, tmp_path):
    page = visit.sign_in("anna").page
    tab_to(page, "Study UID or accession number")
    page.keyboard.type("no such study")
    tab_to(page, "Show")
    page.keyboard.press("Space")
    page.get_by_text("No study is like that").wait_for()
    tab_to(page, "Upload")
    page.keyboard.press("Enter")
    page.wait_for_url("**/upload")
    tab_to(page, "Drop files here, or choose them")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Space")
    chooser.value.set_files(write_part10(build_radiograph(), tmp_path / "a.dcm"))
    tab_to(page, "Analyse")
    page.keyboard.press("Enter")
    page.locator("img.answer").wait_for()
    tab_to(page, "Save the report (PDF)")
    page.reload()
    tab_to(page, "Sign out")
    page.keyboard.press("Enter")
    page.wait_for_url("**/login*")
    assert visit.complaints == []


@pytest.mark.usefixtures("received")
def test_what_a_viewer_may_see_and_may_not_is_as_easy_to_read(visit, node):
    with closing(Accounts(node.settings.database_url)) as accounts:
        accounts.add_user(build_user("vera", PASSWORD, Role.VIEWER))
    page = visit.sign_in("vera").page
    page.locator("a.uid").first.click()
    page.wait_for_url("**/study/*")
    assert page.get_by_role("heading", name="Image 1").is_visible()
    assert page.locator("img, .viewer, form:not(.session)").count() == 0
    assert "Patient" not in page.locator(".facts").inner_text()
    visit.check("study_of_a_viewer")
    assert visit.complaints == []
    for address, said, name in (
        ("/users", "Your role may not do this", "forbidden"),
        ("/study/1.2.3", "There is no such page.", "not_found"),
        ("/statistics?weeks=0", "a value that is none", "wrong_value"),
    ):
        visit.open(address)
        assert said in page.get_by_role("alert").inner_text()
        visit.check(name)
        assert tab_to(page, "To the worklist")
        page.keyboard.press("Enter")
        page.wait_for_url("**/")


@pytest.mark.usefixtures("administrator")
def test_the_doctor_examines_the_running_node(visit, node):
    visit.sign_in("anna").open("/doctor")
    visit.page.get_by_role("button", name="Examine now").click()
    visit.page.get_by_text("All checks have ended.").wait_for()
    findings = visit.page.locator(".findings").inner_text()
    assert "answered by the node: C-ECHO" in findings
    assert f"127.0.0.1:{node.settings.web.port} is answered by the node, version" in findings
    visit.check("doctor_examined")
    assert visit.complaints == []


@pytest.mark.usefixtures("administrator")
def test_a_file_is_tried_on_the_rules(visit, tmp_path):
    visit.sign_in("anna").open("/rules")
    path = write_part10(build_dx(np.full((64, 64), 800, np.uint16)), tmp_path / "a.dcm")
    visit.page.get_by_label("Drop files here").set_input_files([path])
    visit.page.get_by_role("button", name="Try").click()
    visit.page.locator("section.image").wait_for()
    assert "Analysed: no rule holds" in visit.page.locator("section.image").inner_text()
    visit.check("rules_tried")
    assert visit.complaints == []


@pytest.mark.usefixtures("received")
@pytest.mark.parametrize("locale", ["de-AT", "es-MX", "fr-CA", "ja-JP", "uk-UA"])
def test_the_pages_speak_the_language_of_the_browser(chromium, node, locale, tmp_path):
    visit = Visit(chromium, node, locale)
    say = load_language(visit.language).say
    for address, title, name in (("/login", "Sign in", "login"), ("/nothing", "Not possible", "not_found")):
        assert visit.open(address).page.locator("h1").inner_text() == say(title)
        visit.check(f"{visit.language}_{name}")
    visit.complaints.clear()
    page = visit.sign_in("anna").page
    path = write_part10(build_dx(np.full((128, 96), 800, np.uint16)), tmp_path / "a.dcm")
    for title in PAGES:
        address = "/" if title == "Worklist" else f"/{title.lower()}"
        visit.open(address)
        assert page.locator("[aria-current]").inner_text() == say(title)
        if title != "Conformance":  # whose text is English
            assert page.locator("h1").inner_text() == say(title)
        assert page.locator("footer").inner_text().startswith(say("Research use only. Not for diagnosis."))
        if address == "/":
            assert say("done") in page.locator("tbody tr").first.inner_text()
        if address == "/upload":
            page.locator("#file").set_input_files([path])
            page.locator("#drop button").click()
            page.locator("section.image").wait_for()
            assert say("Save the report (PDF)") in page.locator("section.image").inner_text()
        visit.check(f"{visit.language}_{title.lower()}")
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.goto("/")
    page.locator("a.uid").first.click()
    page.wait_for_url("**/study/*")
    assert page.locator("h1").inner_text() == say("Study")
    assert say("done") in page.locator("table").last.inner_text()
    visit.check(f"{visit.language}_study")
    assert visit.complaints == []
    visit.context.close()

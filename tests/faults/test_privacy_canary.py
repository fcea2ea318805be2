"""No patient data anywhere but in the received files and the results: a canary study goes every way there is."""

import json
import stat
from contextlib import closing
from pathlib import Path

import pytest
from builders import build_dx, phantom
from canary import files_below, holds_word, leaks, make_canary, word
from canary_people import operate, visit
from canary_scene import Scene, has
from canary_senders import guard, refuse, spoil
from pydicom import dcmread
from pydicom.config import disable_value_validation
from pydicom.uid import generate_uid
from receiving import encode
from running import wait_for
from temporary_watch import TemporaryWatch

pytestmark = pytest.mark.fault(67)

SAMPLES = Path(__file__).resolve().parents[2] / "sample_studies"


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    scene = Scene(tmp_path_factory.mktemp("canary"))
    watch = TemporaryWatch([scene.temporary, scene.home], scene.list_processes)
    scene.watch = watch
    try:
        scene.node.start()
        with disable_value_validation(), watch:  # faults are what some of the objects are about
            play(scene)
        yield scene
    finally:
        scene.close()


def play(scene):
    """Let the canary go every way."""
    tibia = dcmread(next(iter(sorted((SAMPLES / "tibia_jpeg_ls").rglob("*.dcm")))))
    tibia.decompress()
    small = build_dx(phantom(96, 72))
    study = generate_uid()

    # A study that is analysed, for which an archive is asked, and delivered, refused and kept waiting.
    good = make_canary(tibia, StudyInstanceUID=study)
    assert scene.store(good, calling="ASKER") == 0
    scene.wait_until(
        "the study is delivered, refused, and kept waiting",
        lambda one: (
            one.study_instance_uid == study
            and has(one, "kind", "delivered")
            and has(one, "rude", "parked")
            and has(one, "dead", "attempts")
            and has(one, "sealed", "attempts")
        ),
    )
    scene.keep_command_lines()
    assert scene.store(good) == 0  # a duplicate

    refuse(scene, small)
    spoil(scene, small)
    guard(scene, small)
    scene.webhook.status = 204

    # Crash: what was acknowledged, and a file that is none, are there at the next start.
    late = make_canary(tibia, StudyInstanceUID=study)
    assert scene.store(late) == 0
    scene.node.kill()
    stray = scene.node.settings.node.spool_dir / generate_uid()
    stray.mkdir(mode=0o700)
    (stray / f"{word(9400)}.dcm").write_bytes(bytes(128) + b"DICM" + word(9401).encode() * 50)
    (stray / f"{word(9400)}.dcm").chmod(0o600)
    scene.node.start()
    scene.keep_command_lines()
    scene.wait_until("the late image is delivered", lambda one: one.version == 2 and has(one, "kind", "delivered"))
    scene.wait_until("everything is answered", lambda one: one.study_instance_uid == scene.last_study and one.findings)

    visit(scene, study, good)
    operate(scene, study, [good, small])
    wait_for("syslog has a delivery", lambda: any(b"110104" in one for one in scene.syslog.messages), within_s=60)
    wait_for("the webhook and people were told", lambda: scene.webhook.posts and scene.mail.mails, within_s=60)
    wait_for("the files of a study are removed", lambda: not list(scene.returned.glob("*")), within_s=60)
    assert scene.node.stop() == 0


def test_the_canary_is_where_it_belongs(scene):
    """The words are in the received files and in the results, so the search would find them elsewhere too."""
    node = scene.node.settings.node
    for folder in (node.spool_dir, node.results_dir):
        assert leaks(files_below(folder)), folder
    with closing(scene.node.store()) as store:
        kinds = {one.kind for each in store.status(1000) for one in each.objects if one.destination == "kind"}
    assert kinds > {"structured report", "presentation state", "rejection note"}
    assert leaks((name, encode(ds)) for name, ds in scene.kind.kept.items())


def test_no_word_of_a_canary_study_is_outside_spool_and_results(scene):
    """No log, event, database, checkpoint, audit line, page, command or temporary file holds a word of it."""
    names = {name for name, _ in scene.said}
    assert {"node/node.log", "node/var/node.sqlite", "node/var/workflow.sqlite", "GET /studies"} <= names
    assert any(name.startswith("node/var/audit/") for name in names)
    assert leaks(scene.said) == {}


def test_a_signed_in_visitor_saw_patients_and_another_did_not(scene):
    """The pages did show the words, to whom they may be shown: so that their absence elsewhere means something."""
    assert holds_word(scene.pages_with_patients.encode())
    assert word(9101) in scene.pages_with_patients  # what a rule compares with
    assert not holds_word(scene.pages.encode())


def test_neither_password_nor_token_is_kept_anywhere(scene):
    """Accounts, sessions, audit trail and log know them by their digests only."""
    var = scene.node.folder / "var"
    contents = [*files_below(var, without=(var / "spool", var / "results")), ("log", scene.node.log.encode())]
    assert [name for name, content in contents for secret in scene.secrets if secret in content] == []


def test_the_log_had_much_to_say(scene):
    """The libraries' own remarks are in the log, so that their silence about patients means something."""
    log = scene.node.log
    for said in ("DEBUG", "sqlalchemy.engine", "pynetdicom", "refused: 0x0117", "conflict", "association rejected"):
        assert said in log


def test_every_file_is_private(scene):
    """Files 0600, folders 0700, whatever the umask of whoever started the node."""
    var = scene.node.settings.node.data_dir
    wrong = {
        str(path): oct(stat.S_IMODE(path.lstat().st_mode))
        for path in (var, *var.rglob("*"), *scene.temporary.rglob("*"))
        if stat.S_IMODE(path.lstat().st_mode) != (0o700 if path.is_dir() else 0o600)
    }
    assert wrong == {}


def test_no_temporary_file_is_left(scene):
    """Nothing of the node is in the temporary folder or at home, where no rule of its own protects it.

    Without its telemetry switched off ONNX Runtime leaves a session file in one and an identifier in the other.
    """
    assert [path for folder in (scene.temporary, scene.home) for path in folder.rglob("*") if path.is_file()] == []


def test_command_lines_hold_no_secret(scene):
    """Every process of the node is called with roles, paths and descriptors only."""
    assert len(scene.command_lines) >= 8
    for line in scene.command_lines.values():
        assert not holds_word(line)
        words = line.decode().rstrip("\0").split("\0")[1:]
        allowed = {
            "-m",
            "-W",
            "ignore",
            "dicom_node",
            "dicom_node.analyse.caged",
            "--config",
            "--verbose",
            str(scene.node.config),
        }
        assert {one for one in words if not one.isdigit()} - allowed <= {"serve", "receiver", "worker", "web"}


@pytest.mark.fault(11)
def test_the_audit_trail_tells_the_whole_story(scene):
    """Who sent what, who was turned away, what was analysed by which model, what went where: line by line."""
    (path, *_) = sorted((scene.node.folder / "var" / "audit").glob("*.jsonl"))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    by_event = {
        event: [line for line in lines if line["event"] == event] for event in {line["event"] for line in lines}
    }
    assert {line["role"] for line in by_event["application start"]} == {"receiver", "worker", "web"}
    received = by_event["instance received"]
    assert {line["outcome"] for line in received if line["status"] == 0} == {"new", "duplicate", "conflict"}
    assert {0x0117, 0x0122, 0xA700, 0xA900, 0xC000, 0xC012, 0xC013} <= {line["status"] for line in received}
    assert all(line["host"] == "127.0.0.1" for line in received)
    refused = {(line["calling_ae_title"], line["host"]) for line in by_event["association refused"]}
    assert refused == {("STRANGER", "127.0.0.1"), ("ARCHIVE", "127.0.0.1")}
    analysed = [line for line in by_event["study analysed"] if line["models"]]
    assert any(one["decision"] != "not analysed" for line in analysed for one in line["images"])
    sent = [line for line in by_event["instances transferred"] if line["direction"] == "out"]
    # Nothing was ever transferred to the one that is away.
    assert {(line["destination"], line["success"]) for line in sent} == {("kind", True), ("rude", False)}
    assert "kind" in {line["destination"] for line in by_event["result settled"]}
    assert {"query sent", "transfer begun", "operator", "study removed"} <= by_event.keys()
    assert {"user authentication", "patients listed", "study viewed", "user administration"} <= by_event.keys()
    assert {line["user"] for line in by_event["study viewed"]} == {"operator"}
    assert "" in {line["user"] for line in by_event["user authentication"]}  # not what was typed
    assert scene.syslog.messages

"""No patient data anywhere but in the received files and the results: a canary study goes every way there is.

The real node runs with everything logged that any library has to say, not only what `--verbose` lets through.
"""

import json
import os
import ssl
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import closing, suppress
from pathlib import Path

import pytest
from alert_servers import MailServer, WebhookServer
from builders import build_dx, build_sc, build_sr, encapsulated, phantom, write_part10
from canary import KEYWORDS, files_below, holds_word, leaks, make_canary, word, write_rules
from certificates import Authority
from delivery_bench import ScriptedArchive
from pydicom import Dataset, dcmread
from pydicom.config import disable_value_validation
from pydicom.tag import Tag
from pydicom.uid import JPEG2000Lossless, generate_uid
from raw_peer import CR, DX, EXPLICIT, RawPeer, status_of
from receiving import encode
from result_bench import write
from running import Node, children_of, wait_for
from syslog_server import SyslogServer
from temporary_watch import TemporaryWatch
from web_visitor import PASSWORD, Visitor

from dicom_node.demo.archives import find_free_port
from dicom_node.identity import MANUFACTURER, MANUFACTURER_MODEL_NAME

pytestmark = pytest.mark.fault(67)

SAMPLES = Path(__file__).resolve().parents[2] / "sample_studies"
SAY_EVERYTHING = """\
import logging
logging.Logger.setLevel = lambda self, level, set_level=logging.Logger.setLevel: set_level(self, logging.DEBUG)
logging.getLogger("sqlalchemy.pool").propagate = False  # connections come and go
"""
SECRET = word(9100)
"""What only the configuration file holds, and mails: where alerts are from."""
FORMS = 'results = ["secondary capture", "report", "structured report", "presentation state", "key objects"]'
HOSTILE = {
    Tag(0x00200013): ("IS", word(9200).encode()),
    Tag(0x00281050): ("DS", word(9201).encode()),
    Tag(0x00080020): ("DA", word(9202).encode()),
    Tag(0x00100020): ("SQ", word(9203).encode()),
    Tag(0x00080005): ("CS", word(9204).encode()),
}
"""Values that do not convert: what a parser says about them may quote them."""


class TalkativeArchive(ScriptedArchive):
    """An archive that puts names into everything it answers."""

    def _store(self, event):
        status = Dataset()
        status.Status, status.ErrorComment = super()._store(event), word(9300)
        return status

    def _find(self, event):
        for status, answer in super()._find(event):
            if answer is not None:
                answer.PatientName, answer.PatientBirthDate = word(9301), "18310917"
                answer.StudyDescription, answer.PatientComments = word(9302), word(9303)
            yield status, answer

    def _act(self, _event):
        status = Dataset()
        status.Status, status.ErrorComment = 0x0110, word(9304)
        return status, None


class Certificates:
    """A hospital's authority, and one that nobody knows, whose certificates say what they like."""

    def __init__(self, folder):
        self._authority = Authority(folder / "hospital")
        self.trusted = self._authority.issue("peer")
        self.strange = Authority(folder / "strange", word(9310)).issue(word(9311))
        node = self._authority.issue("node")
        files = {"certificate": node.certificate, "key": node.key, "ca": self._authority.certificate}
        self.node_files = "\n".join(f'{name} = "{path}"' for name, path in files.items())
        self.folder = folder

    def server_context(self, identity):
        return self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), identity)

    def client_context(self, identity):
        return self._load(ssl.create_default_context(cafile=self._authority.certificate), identity)

    @staticmethod
    def _load(context, identity):
        context.load_cert_chain(identity.certificate, identity.key)
        return context


class Scene:
    """The node, the archives around it, and everything they have said."""

    def __init__(self, folder):
        self.folder = folder
        self.temporary = folder / "tmp"
        site = folder / "site"
        self.home = folder / "home"
        for path in (self.temporary, self.home, site):
            path.mkdir()
        (site / "sitecustomize.py").write_text(SAY_EVERYTHING)
        self.environment = {"PYTHONPATH": str(site), "TMPDIR": str(self.temporary), "HOME": str(self.home)}
        self.environment |= dict.fromkeys(("XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME"), str(self.home))
        self.kind = TalkativeArchive(report=None, offers=("store", "forms", "commitment", "find"))
        self.rude = TalkativeArchive(store=(0xC000,))
        self.certificates = Certificates(folder / "certificates")
        self.syslog = SyslogServer(self.certificates.server_context(self.certificates.trusted))
        self.impostor = SyslogServer(self.certificates.server_context(self.certificates.strange))
        self.webhook, self.mail = WebhookServer(), MailServer()
        self.webhook.status = 500  # until the crash
        destinations = {"kind": self.kind.port, "rude": self.rude.port, "dead": find_free_port()}
        destinations["sealed"] = self.impostor.port
        more = (
            f'[[senders]]\nae_title = "ASKER"\narchive = "kind"\n'
            f"[tls]\n{self.certificates.node_files}\nincoming = false\n"
            f'[audit]\nsyslog_host = "127.0.0.1"\nsyslog_port = {self.syslog.port}\ntls = true\n'
            f'[alerts]\nwebhook_url = "http://127.0.0.1:{self.webhook.port}/"\nsmtp_host = "127.0.0.1"\n'
            f'smtp_port = {self.mail.port}\nsmtp_security = "none"\nmail_from = "{SECRET}@localhost"\n'
            'mail_to = ["people@example.org"]\nevery_s = 1\nundelivered_after_s = 1\nstuck_after_s = 1\nsettle_s = 0\n'
            # The files of results that came back alone go after nine seconds; no other study is ever delivered to all.
            "[retention]\nfiles_days = 0.0001\nevery_s = 1\n[results]\nreject_superseded = true\n"
            f'[reconcile]\narchives = ["kind"]\nevery_s = 2\n[analysis]\ndecode_limit_s = 60\n'
            f"{write_rules()}"
        )
        self.node = Node(folder / "node", destinations, more=more, environment=self.environment)
        text = self.node.config.read_text().replace(
            "minimum_free_mb = 1", "minimum_free_mb = 1\nmaximum_object_mb = 20"
        )
        for name, line in (("kind", FORMS), ("sealed", "tls = true")):
            text = text.replace(f'name = "{name}"', f'name = "{name}"\n{line}')
        self.node.config.write_text(text)
        self.answers: dict[str, bytes] = {}
        self.command_lines: dict[int, bytes] = {}

    def close(self):
        if self.node.process is not None:
            self.node.stop()
        for server in (self.syslog, self.impostor, self.webhook, self.mail):
            server.close()
        for archive in (self.kind, self.rude):
            archive.stop()

    # What is sent

    def store(self, ds, content=None, *, calling="ARCHIVE", sop_class=None, sop_instance=None, syntax=EXPLICIT):
        """Send one object; return the status of the answer."""
        offered = sop_class or ds.SOPClassUID
        with RawPeer(self.node.port, timeout_s=60).associate([(offered, [syntax])], calling=calling) as peer:
            response = peer.store(
                encode(ds) if content is None else content,
                sop_class=ds.SOPClassUID,
                sop_instance=sop_instance or ds.SOPInstanceUID,
            )
            peer.release()
        self.answers[f"C-STORE-RSP {len(self.answers)}"] = b"\0".join(response.values())
        return status_of(response)

    def list_processes(self):
        process = self.node.process
        return [] if process is None else [process.pid, *children_of(process.pid)]

    def keep_command_lines(self):
        for pid in (self.node.process.pid, *children_of(self.node.process.pid)):
            self.command_lines[pid] = Path(f"/proc/{pid}/cmdline").read_bytes()

    def run(self, *arguments):
        """Run a command of the node, and keep what it says."""
        command = [sys.executable, "-m", "dicom_node", *map(str, arguments)]
        environment = {**os.environ, **self.environment}
        ran = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=300)
        self.answers[f"dicom-node {arguments[0]} {len(self.answers)}"] = ran.stdout + ran.stderr
        return ran

    def get(self, path):
        """Ask the web process, and keep what it answers, header included."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.node.settings.web.port}{path}", timeout=60) as answer:
                content, header = answer.read(), str(answer.headers)
        except urllib.error.HTTPError as error:
            content, header = error.read(), str(error.headers)
        self.answers[f"GET {path}"] = header.encode() + content

    def wait_until(self, what, condition):
        def revisions():
            store = self.node.store()
            try:
                return [one for one in store.status(1000) if condition(one)]
            finally:
                store.close()

        return wait_for(what, revisions, within_s=180)

    @property
    def said(self):
        """Everything outside spool and results: what may hold no word."""
        var = self.node.folder / "var"
        files = files_below(
            self.folder,
            without=(
                var / "spool",
                var / "results",
                self.folder / "guarded" / "var" / "spool",
                self.certificates.folder,  # names of the strange authority's certificates
                self.folder / "input",
                self.folder / "out",
            ),
        )
        files = [(name, content) for name, content in files if not name.endswith(("sitecustomize.py", "node.toml"))]
        lines = [(f"command line of {pid}", line) for pid, line in self.command_lines.items()]
        return [
            *files,
            *lines,
            *self.answers.items(),
            *((f"syslog {n}", one) for n, one in enumerate(self.syslog.messages)),
            *((f"webhook {n}", json.dumps(one).encode()) for n, one in enumerate(self.webhook.posts)),
            *((f"header of webhook {n}", repr(one).encode()) for n, one in enumerate(self.webhook.headers)),
            *((f"mail {n}", without_sender(one)) for n, one in enumerate(self.mail.mails)),
            *((f"temporary file {name}", content) for name, content in self.watch.seen.items()),
        ]


def without_sender(mail):
    """Return all of a mail but whom it is from, which the configuration file says."""
    return repr([(name, value) for name, value in mail.items() if name != "From"]).encode() + mail.get_payload(
        decode=True
    )


def has(revision, destination, what):
    """Tell whether a destination has results of a revision that are so far."""
    counts = {
        one.destination: {
            "delivered": not one.pending and not one.parked,
            "parked": one.parked,
            "attempts": one.attempts,
        }
        for one in revision.destinations
    }
    return bool(counts.get(destination, {}).get(what))


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


def refuse(scene, small):
    """Let the node refuse an object for each reason that there is."""
    ds = make_canary(small)
    bare = {keyword: make_canary(small) for keyword in ("StudyInstanceUID", "SeriesInstanceUID")}
    for keyword, one in bare.items():
        delattr(one, keyword)
    statuses = {
        "no UID": scene.store(ds, sop_instance=word(9500)),
        "a path": scene.store(ds, sop_instance=f"../{word(9501)}\n{word(9502)}"),
        "UID in the data set": scene.store(ds, encode(make_canary(small, StudyInstanceUID=word(9503)))),
        "another instance": scene.store(ds, encode(make_canary(small))),
        "another class": scene.store(ds, sop_class=CR),
        "empty": scene.store(ds, b""),
        "no DICOM": scene.store(ds, word(9504).encode() * 100),
        "another syntax": scene.store(ds, encode(ds), syntax="1.2.840.10008.1.2"),
        "too large": scene.store(ds, encode(ds) + bytes(21_000_000)),
        "nested": scene.store(ds, encode(ds)[:200] + b"\x08\x00\x15\x11SQ\0\0\xff\xff\xff\xff" * 50_000),
        **{f"no {keyword}": scene.store(one) for keyword, one in bare.items()},
    }
    assert 0 not in statuses.values(), statuses
    with RawPeer(scene.node.port) as stranger:
        stranger.request([(DX, [EXPLICIT])], calling="STRANGER")
    with RawPeer(scene.node.port) as stranger:
        stranger.request([(DX, [EXPLICIT])], calling="ARCHIVE", called="ANOTHER")
    with RawPeer(scene.node.port).associate([(DX, [EXPLICIT])], calling="ARCHIVE") as peer:
        peer.send_values((1, 0, word(9505).encode()))  # a data set without a command
        peer.wait_for_end()


def spoil(scene, small):
    """Send what is taken and then makes trouble: conflicts, what cannot be decoded, what cannot be read."""
    ds = make_canary(small)
    assert scene.store(ds) == 0
    other = make_canary(small, SOPInstanceUID=ds.SOPInstanceUID)
    assert scene.store(other) == 0  # of another study: set aside
    assert scene.store(make_canary(small, StudyInstanceUID=ds.StudyInstanceUID, PatientID=word(9600))) == 0
    assert scene.store(make_canary(build_sr())) == 0
    broken = encapsulated(make_canary(small), JPEG2000Lossless, word(9601).encode() * 20)
    assert scene.store(broken, syntax=JPEG2000Lossless) == 0
    short = make_canary(small)
    short.PixelData = short.PixelData[:100]
    assert scene.store(short) == 0
    hostile = make_canary(small)
    assert scene.store(hostile, write(hostile, HOSTILE.items())) == 0
    scene.last_study = hostile.StudyInstanceUID
    own = {"Manufacturer": MANUFACTURER, "ManufacturerModelName": MANUFACTURER_MODEL_NAME}
    returned = make_canary(build_sc(), **own)
    assert scene.store(returned) == 0
    scene.returned = scene.node.settings.node.spool_dir / returned.StudyInstanceUID
    assert leaks(files_below(scene.returned))
    scene.wait_until(
        "the hostile study is answered", lambda one: one.study_instance_uid == scene.last_study and one.findings
    )


def guard(scene, small):
    """Knock at a port that speaks TLS and nothing else: in plain, with a strange certificate, and in order."""
    folder, port = scene.folder / "guarded", find_free_port()
    folder.mkdir()
    (folder / "node.toml").write_text(
        f'[node]\nae_title = "FRACTUREAI"\nport = {port}\ndata_dir = "{folder / "var"}"\n'
        f'[[senders]]\nae_title = "ARCHIVE"\n[tls]\n{scene.certificates.node_files}\n'
        f'[[destinations]]\nname = "kind"\nae_title = "ARCHIVE"\nhost = "127.0.0.1"\nport = {scene.kind.port}\n'
        "[receive]\nprocesses = 1\nminimum_free_mb = 1\n"
    )
    command = [sys.executable, "-m", "dicom_node", "receiver", "--verbose", "--config", str(folder / "node.toml")]
    with (folder / "log").open("wb") as log:
        receiver = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **scene.environment})
    try:
        wait_for("it receives", lambda: b"receiving as" in (folder / "log").read_bytes(), within_s=120)
        with RawPeer(port) as plain:
            plain.socket.sendall(word(9330).encode() * 50)
            plain.wait_for_end()
        with suppress(OSError), RawPeer(port) as stranger:  # with TLS 1.3 it is told when it first reads
            secure(stranger, scene.certificates.client_context(scene.certificates.strange))
            assert stranger.request() == (0, b"")
        ds = make_canary(small)
        for content in (encode(ds), word(9331).encode() * 50):
            with RawPeer(port, timeout_s=60) as peer:
                secure(peer, scene.certificates.client_context(scene.certificates.trusted))
                peer.associate([(DX, [EXPLICIT])], calling="ARCHIVE")
                response = peer.store(content, sop_instance=ds.SOPInstanceUID)
                assert (status_of(response) == 0) == (content == encode(ds))
            scene.answers[f"C-STORE-RSP {len(scene.answers)}"] = b"\0".join(response.values())
    finally:
        receiver.terminate()
        assert receiver.wait(60) == 0


def secure(peer, context):
    peer.socket = context.wrap_socket(peer.socket, server_hostname="127.0.0.1")


def visit(scene, study, good):
    """Look at the pages: as somebody who sees patients and as somebody who does not, in order and with mistakes."""
    node, people = scene.node.settings, {}

    def enter(name):
        people[name] = Visitor(node.web.port, name, scene.answers)
        return people[name]

    wait_for("the web process answers", lambda: scene.node.settings.node.first_run_file.exists() or _is_open(scene))
    first = enter("root")
    first.begin(node.node.first_run_file.read_text().strip())
    for role in ("viewer", "operator"):
        first.ask("POST", "/users/add", data={"name": role, "password": PASSWORD, "role": role})
        enter(role).sign_in()
    viewer, reader = people["viewer"], people["operator"]
    scene.pages = look_around(scene, study, viewer, sees_patients=False)
    scene.pages_with_patients = look_around(scene, study, reader, sees_patients=True)
    # What was typed is shown to whoever typed it, and is kept nowhere.
    for person in (viewer, reader):
        accession = word(KEYWORDS.index("AccessionNumber"))
        person.ask("POST", "/", sees_patients=True, data={"search": accession})
        person.ask("POST", "/rows", sees_patients=True, data={"search": accession}, headers={"X-Live": "1"})
        person.ask("GET", f"/study/{word(9800)}?said={word(9801)}", sees_patients=True)
    first.ask("POST", "/users/add", sees_patients=True, data={"name": word(9802), "password": "x", "role": "viewer"})
    first.ask("POST", "/account/tokens", sees_patients=True, data={"label": "program"})
    upload(scene, good, reader)
    for action, data in (("retry", {}), ("complete", {}), ("send", {"destination": word(9803)})):
        reader.ask("POST", f"/study/{study}/{action}", data=data)
    # The name of a user may be a password in the wrong field, or a patient's.
    stranger = enter("stranger")
    stranger.ask("GET", "/login")
    for _ in range(7):
        stranger.fail(word(9804), word(9805))
    reader.ask("POST", "/logout")
    for person in people.values():
        person.close()


def _is_open(scene):
    try:
        scene.get("/login")
    except OSError:
        return False
    return scene.node.settings.node.first_run_file.exists()


def look_around(scene, study, person, *, sees_patients):
    """Open worklist, pages, pictures and report; return what the pages showed."""
    store = scene.node.store()
    try:
        entry = store.find_study(study)
        received, results = store.instances_of(study), store.results_of(study, entry.digest)
        others = [one.study_instance_uid for one in store.status(1000)]
        broken = [(uid, one.sop_instance_uid) for uid in others for one in store.instances_of(uid)]
    finally:
        store.close()
    shown = [person.ask("GET", "/", sees_patients=sees_patients).text]
    shown += [person.ask("GET", f"/study/{uid}", sees_patients=sees_patients).text for uid in {study, *others}]
    for uid, instance in broken:  # also those that cannot be decoded
        person.ask("GET", f"/study/{uid}/image/{instance}")
    assert received
    for one in results:
        person.ask("GET", f"/study/{study}/overlay/{one.sop_instance_uid}")
        person.ask("GET", f"/study/{study}/report/{one.sop_instance_uid}", sees_patients=sees_patients)
    for path in (
        "/upload",
        "/users",
        "/account",
        "/statistics",
        "/conformance",
        "/conformance/statement.md",
        "/nothing",
    ):
        person.ask("GET", path)
    shown.append(person.ask("GET", "/rules", sees_patients=sees_patients).text)
    person.ask("GET", "/doctor")
    person.ask("POST", "/doctor")
    return "".join(shown)


def upload(scene, good, reader):
    """Upload what can be read and what cannot; neither answer, log nor temporary file may repeat what is in it."""
    folder = scene.folder / "input"
    image = write_part10(make_canary(good), folder / "uploaded.dcm").read_bytes()
    for content in (image, image[:2000], word(9806).encode() * 50):
        answer = reader.ask("POST", "/upload", files={"file": ("image.dcm", content)})
        assert answer.status_code == 200, answer.text
    reader.ask("POST", "/upload", sees_patients=True, files={"file": (f"{word(9807)}.dcm", image[:2000])})
    token = scene.run("web-token", "add", "operator", "program", "--config", scene.node.config).stdout.decode().strip()
    for content in (image, image[:2000]):
        reader.ask("POST", "/predict", files={"file": ("i.dcm", content)}, headers={"Authorization": f"Bearer {token}"})
    scene.secrets = [PASSWORD.encode(), token.encode()]


def operate(scene, study, images):
    """Do what an operator does, and ask what can be asked."""
    folder, config = scene.folder / "input", ("--config", scene.node.config)
    for number, ds in enumerate(images):
        write_part10(make_canary(ds), folder / f"{number}.dcm")
    (folder / "2.dcm").write_bytes(bytes(128) + b"DICM" + word(9700).encode() * 50)
    (folder / "3.png").write_bytes(word(9701).encode() * 50)
    hostile = make_canary(images[1])
    (folder / "4.dcm").write_bytes(
        (folder / "1.dcm").read_bytes()[: 144 + _meta_length(folder / "1.dcm")] + write(hostile, HOSTILE.items())
    )
    scene.run("analyse", folder, "--json", "--out", scene.folder / "out")
    scene.run("analyse", folder)
    for arguments in (
        ("status",),
        ("status", "--json"),
        ("status", "--state", "all"),
        ("status", "--search", study[-9:], "--json"),
        ("study", study),
        ("study", study, "--json"),
        ("statistics", "--json"),
        ("alerts",),
        ("doctor",),
        ("conformance",),
        ("conformance", "--html"),
        ("retention",),
        ("retry", study),
        ("complete", study),
    ):
        scene.run(*arguments, *config)
    for path in ("/healthz", "/readyz", "/studies", "/studies?limit=x", "/metrics", "/openapi.json", "/nothing"):
        scene.get(path)


def _meta_length(path):
    return int.from_bytes(path.read_bytes()[140:144], "little")


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

"""The node that the canary passes, the archives and servers around it, and everything they have said.

Everything is logged that any library has to say, not only what `--verbose` lets through.
"""

import json
import os
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

from alert_servers import MailServer, WebhookServer
from canary import files_below, word, write_rules
from certificates import Authority
from delivery_bench import ScriptedArchive
from pydicom import Dataset
from raw_peer import EXPLICIT, RawPeer, status_of
from receiving import encode
from running import Node, children_of, wait_for
from syslog_server import SyslogServer

from dicom_node.demo.archives import find_free_port

SAY_EVERYTHING = """\
import logging
logging.Logger.setLevel = lambda self, level, set_level=logging.Logger.setLevel: set_level(self, logging.DEBUG)
logging.getLogger("sqlalchemy.pool").propagate = False  # connections come and go
"""
SECRET = word(9100)
"""What only the configuration file holds, and mails: where alerts are from."""
FORMS = 'results = ["secondary capture", "report", "structured report", "presentation state", "key objects"]'


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

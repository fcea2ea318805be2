"""`dicom-node doctor`: is everything in place, and what to do where it is not."""

import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from rich.console import Console

from dicom_node.alerts.receiver import ask_receiver
from dicom_node.deliver import find_offered_proofs, verify_destination
from dicom_node.errors import AssociationError, ConfigurationError
from dicom_node.operate.alerts import check_alerts
from dicom_node.operate.archives import check_archives
from dicom_node.operate.certificates import check_certificates
from dicom_node.operate.databases import check_databases
from dicom_node.operate.finding import Finding
from dicom_node.operate.forms import check_forms
from dicom_node.operate.health import accepts_connections
from dicom_node.operate.privacy import check_privacy, check_syslog
from dicom_node.operate.terminal import print_entry
from dicom_node.settings import Destination, Proof, Settings, load_settings
from inference.errors import BundleError
from inference.pipeline import Pipeline

_PATIENCE_S = 5
"""How long whatever has a port of the node may take to say what it is."""


def run_doctor(config: Path) -> int:
    """Print a line for each check; returns 0 if all is well, 2 if the configuration is wrong, else 1."""
    console = Console(highlight=False)
    try:
        settings = load_settings(config)
    except ConfigurationError as error:
        _show(console, Finding(subject="configuration", ok=False, says=str(error), remedy=f"correct {config}"))
        return 2
    _show(console, Finding(subject="configuration", ok=True, says=str(config)))
    sick = 0
    for check in CHECKS:
        for finding in check(settings):
            _show(console, finding)
            sick += not finding.ok
    console.print("nothing is wrong" if not sick else f"{sick} thing(s) to mend")
    return 1 if sick else 0


def _show(console: Console, finding: Finding) -> None:
    remedy = f"→ {finding.remedy}" if finding.remedy else ""
    mark, style = ("ok", "green") if finding.ok else ("wrong", "red")
    print_entry(console, mark, [f"{finding.subject}: {finding.says}", remedy], style=style, column=6)


def check_data_folder(settings: Settings) -> Iterator[Finding]:
    """Check that the data folder can be written and has room."""
    folder = settings.node.data_dir
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        remedy = f"give this user the right to write {existing}, or set node.data_dir"
        yield Finding(subject="data folder", ok=False, says=f"{folder} cannot be written", remedy=remedy)
        return
    free_mb = shutil.disk_usage(existing).free / 1e6
    enough = free_mb > settings.receive.minimum_free_mb
    yield Finding(
        subject="data folder",
        ok=enough,
        says=f"{folder}, {free_mb:,.0f} MB free",
        remedy="" if enough else "free some space: below receive.minimum_free_mb every C-STORE is refused",
    )


def check_bundles(settings: Settings) -> Iterator[Finding]:
    """Check that the bundles are there, unaltered, and load."""
    try:
        pipeline = Pipeline.load(settings.models.bundles, runtime=settings.models.runtime)
    except BundleError as error:
        remedy = "restore models/bundles from the release, or set models.bundles"
        yield Finding(subject="models", ok=False, says=str(error), remedy=remedy)
        return
    for model in pipeline.models:
        yield Finding(subject="model", ok=True, says=f"{model.name} {model.version} ({model.digest[:12]})")


def check_ports(settings: Settings) -> Iterator[Finding]:
    """Check that each port is served by this node, or free to be taken."""
    for subject, table, address, ask in (
        ("DICOM port", "node", settings.node, _ask_receiver),
        ("web port", "web", settings.web, _ask_web),
    ):
        host, port = address.host, address.port
        if accepts_connections(host, port):
            answer = ask(settings)
            ok, says = answer is not None, answer or "taken by another program"
            remedy = f"stop that program (`ss -ltnp 'sport = :{port}'` names it), or set {table}.port to a free one"
        else:
            problem = _try_to_bind(host, port)
            ok, says = problem is None, problem or "free"
            remedy = f"set {table}.port, or {table}.host to an address of this machine"
        yield Finding(subject=subject, ok=ok, says=f"{host}:{port} is {says}", remedy="" if ok else remedy)


def _ask_receiver(settings: Settings) -> str | None:
    """Ask for a sign of life; None: it is not this node that answers."""
    try:
        return f"answered by the node: {ask_receiver(settings, within_s=_PATIENCE_S)}"
    except AssociationError:
        return None


def _ask_web(settings: Settings) -> str | None:
    """Ask for `/healthz`; None: it is not a node that answers."""
    connection = HTTPConnection(settings.web.host, settings.web.port, timeout=_PATIENCE_S)
    try:
        connection.request("GET", "/healthz")
        version = json.loads(connection.getresponse().read(10_000))["version"]
    except (OSError, HTTPException, ValueError, LookupError, TypeError):  # not HTTP, not JSON, or other JSON
        return None
    finally:
        connection.close()
    return f"answered by the node, version {version}"


def _try_to_bind(host: str, port: int) -> str | None:
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
    except OSError as error:
        return f"not to be had: {error.strerror}"
    return None


def check_destinations(settings: Settings) -> Iterator[Finding]:
    """Check that each destination answers a C-ECHO and offers the proofs of delivery that it must give."""
    for destination in settings.destinations:
        where = f"{destination.ae_title} at {destination.host}:{destination.port}"
        try:
            verify_destination(destination, settings.node.ae_title)
            proofs = find_offered_proofs(destination, settings.node.ae_title)
            forms = check_forms(destination, settings.node.ae_title)
        except AssociationError as error:
            remedy = f"start it; let it know the modality {settings.node.ae_title}; check host, port and AE title"
            says = f"{where}: {str(error).removeprefix(f'{destination.name}: ')}"
            yield Finding(subject=f"destination {destination.name}", ok=False, says=says, remedy=remedy)
        else:
            yield Finding(subject=f"destination {destination.name}", ok=True, says=f"{where} answers C-ECHO")
            yield forms
            yield from _check_proofs(settings, destination, proofs)


def _check_proofs(settings: Settings, destination: Destination, offered: dict[str, bool]) -> Iterator[Finding]:
    subject = f"proof of delivery {destination.name}"
    names = {"commitment": "storage commitment", "verify": "C-FIND"}
    wanted = {"commitment": destination.commitment, "verify": destination.verify}
    there = [names[key] for key in names if offered[key]]
    none = "none: files of its studies will be kept"
    if settings.results.reject_superseded:
        none += ", and superseded results not rejected"
    if destination.is_believed:
        none = "none wanted: Success is believed"
    says = f"by {' and '.join(there)}" if there else none
    for key, name in names.items():
        if wanted[key] is Proof.REQUIRED and not offered[key]:
            remedy = (
                f'let the archive offer it to this node, or set {key} = "when offered": all results are parked else'
            )
            yield Finding(subject=subject, ok=False, says=f"{name} is required and not offered", remedy=remedy)
            return
    yield Finding(subject=subject, ok=True, says=says)


CHECKS: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
    check_data_folder,
    check_privacy,
    check_databases,
    check_bundles,
    check_certificates,
    check_ports,
    check_destinations,
    check_archives,
    check_syslog,
    check_alerts,
)

"""`dicom-node doctor`: is everything in place, and what to do where it is not."""

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from dicom_node.deliver import verify_destination
from dicom_node.errors import AssociationError, ConfigurationError
from dicom_node.operate.web import accepts_connections
from dicom_node.settings import Settings, load_settings
from inference.errors import BundleError
from inference.pipeline import Pipeline


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one check found."""

    subject: str
    ok: bool
    says: str
    remedy: str = ""


def run_doctor(config: Path) -> int:
    """Print a line for each check; returns 0 if all is well, 2 if the configuration is wrong, else 1."""
    console = Console(soft_wrap=True)
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
    console.print("nothing is wrong" if not sick else f"{sick} thing(s) to mend", highlight=False)
    return 1 if sick else 0


def _show(console: Console, finding: Finding) -> None:
    mark = "[green]ok   [/green]" if finding.ok else "[red]wrong[/red]"
    console.print(f"{mark} {finding.subject}: {finding.says}", highlight=False)
    if finding.remedy:
        console.print(f"      → {finding.remedy}", highlight=False)


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
    """Check that the ports are served by the node already, or free to be taken."""
    for subject, host, port, key in (
        ("DICOM port", settings.node.host, settings.node.port, "node.port"),
        ("web port", settings.web.host, settings.web.port, "web.port"),
    ):
        if accepts_connections(host, port):
            yield Finding(subject=subject, ok=True, says=f"{host}:{port} answers (the node, if it is running)")
            continue
        problem = _try_to_bind(host, port)
        remedy = "" if problem is None else f"set {key} or {key.split('.')[0]}.host to an address of this machine"
        says = f"{host}:{port} is {'free' if problem is None else problem}"
        yield Finding(subject=subject, ok=problem is None, says=says, remedy=remedy)


def _try_to_bind(host: str, port: int) -> str | None:
    try:
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
    except OSError as error:
        return f"not to be had: {error.strerror}"
    return None


def check_destinations(settings: Settings) -> Iterator[Finding]:
    """Check that each destination answers a C-ECHO."""
    for destination in settings.destinations:
        where = f"{destination.ae_title} at {destination.host}:{destination.port}"
        try:
            verify_destination(destination, settings.node.ae_title)
        except AssociationError as error:
            remedy = f"start it; let it know the modality {settings.node.ae_title}; check host, port and AE title"
            yield Finding(subject=f"destination {destination.name}", ok=False, says=f"{where}: {error}", remedy=remedy)
        else:
            yield Finding(subject=f"destination {destination.name}", ok=True, says=f"{where} answers C-ECHO")


CHECKS: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
    check_data_folder,
    check_bundles,
    check_ports,
    check_destinations,
)

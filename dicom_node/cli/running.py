"""Commands that run the node, and its processes each alone."""

import logging
from contextlib import AbstractContextManager
from pathlib import Path

import typer

from dicom_node.cli.options import DEFAULT_CONFIG, Config, Verbose
from dicom_node.logs import configure_logging
from dicom_node.settings import Settings, load_settings


def serve(config: Config = DEFAULT_CONFIG, verbose: Verbose = False) -> None:
    """Run the whole node: receiver, worker and web process, restarted when they die.

    Stops on SIGTERM or Ctrl-C: finishes what is in hand within the grace period and exits with 0.
    """
    from dicom_node.processes import supervise

    settings = _prepare(config, verbose=verbose)
    raise typer.Exit(supervise(settings, config, verbose=verbose))


def receiver(config: Config = DEFAULT_CONFIG, verbose: Verbose = False) -> None:
    """Run the receiver alone: accepts C-STORE and C-ECHO, keeps the bytes, answers."""
    from dicom_node.receive.storage_scp import run_receiver

    settings = _prepare(config, verbose=verbose)
    with _audited(settings, "receiver"):
        code = run_receiver(settings)
    raise typer.Exit(code)


def worker(config: Config = DEFAULT_CONFIG, verbose: Verbose = False) -> None:
    """Run the worker alone: completes studies, analyses them, delivers the results."""
    from dicom_node.worker import run_worker

    raise typer.Exit(run_worker(_prepare(config, verbose=verbose)))


def web(config: Config = DEFAULT_CONFIG, verbose: Verbose = False) -> None:
    """Run the web process alone: the pages, POST /predict, /healthz, /readyz, /metrics."""
    from dicom_node.web.server import run_web

    settings = _prepare(config, verbose=verbose)
    with _audited(settings, "web"):
        code = run_web(settings)
    raise typer.Exit(code)


def _audited(settings: Settings, role: str) -> AbstractContextManager[None]:
    from dicom_node.audit import AuditTrail, running_application

    return running_application(AuditTrail(settings.node.audit_dir, settings.node.ae_title), role)


def _prepare(config: Path, *, verbose: bool) -> Settings:
    from dicom_node.processes import stop_with_supervisor

    configure_logging(logging.INFO if verbose else logging.WARNING)
    logging.getLogger("dicom_node").setLevel(logging.INFO)
    settings = load_settings(config)
    stop_with_supervisor()
    return settings

"""Commands that have the node do something: try again, wait no longer, send."""

from pathlib import Path
from typing import Annotated

import typer

from dicom_node.cli.options import DEFAULT_CONFIG, Config, StudyUID, fail
from dicom_node.settings import Settings, load_settings


def retry(
    study: Annotated[str | None, typer.Argument(help="Study Instance UID; without it: of every study.")] = None,
    destination: Annotated[str | None, typer.Option(help="Only what this destination did not take.")] = None,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Try again what has failed or is parked: of one study or of all, for one destination or for all.

    What has failed or is parked, and why:  dicom-node status --state failed

    What a destination did not take, after it was mended:  dicom-node retry --destination archive

    What a rule has left out is looked at again, by the rules of now, where its study is named.
    """
    from dicom_node.store import Store

    settings = load_settings(config)
    count = Store(settings.database_url).retry(study, destination)
    if count:
        _note_operator(settings, "retry", study_instance_uid=study, destination=destination)
    else:
        fail("nothing of that has failed or is parked; `dicom-node status` shows what is")
    typer.echo(f"{count} revision(s) will be tried again")


def complete(study: StudyUID, config: Config = DEFAULT_CONFIG) -> None:
    """Treat a study as complete now, without waiting for the quiet period or for images that an archive lists.

    Which wait:  dicom-node status --state receiving

    An image that comes later makes a new version; nothing is lost.
    """
    from dicom_node.store import Store

    settings = load_settings(config)
    if not Store(settings.database_url).force_completion(study):
        fail(f"study {study} is not waiting for images; `dicom-node status` shows its state")
    _note_operator(settings, "complete", study_instance_uid=study)
    typer.echo(f"study {study} will be analysed at the next sweep")


def send(
    study: StudyUID,
    destination: Annotated[str, typer.Argument(help="Name of a destination in the configuration.")],
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Send a study's results to a destination that was not to get them, such as one configured since.

    What is there to send, and where it could go:  dicom-node study UID

    It is queued: the worker sends it, and tries again until it is taken. What is parked is tried again by `retry`.
    """
    from dicom_node.encode.sop_classes import list_profiles
    from dicom_node.store import Store

    settings = load_settings(config)
    profiles = list_profiles(settings)
    if destination not in profiles:
        fail(f"no [[destinations]] of {config} has the name {destination!r}")
    count = Store(settings.database_url).send(study, destination, profiles[destination])
    if not count:
        fail(f"study {study} has no results that {destination} is not to get already; see `dicom-node status`")
    _note_operator(settings, "send", study_instance_uid=study, destination=destination)
    typer.echo(f"{count} result(s) will be sent to {destination}")


def send_files(
    destination: Annotated[str, typer.Argument(help="Name of a destination in the configuration.")],
    files: Annotated[list[Path], typer.Argument(help="DICOM files of one study.", exists=True, dir_okay=False)],
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Analyse DICOM files of a study that the node has not received, and send the results to a destination.

    The files themselves are neither kept nor sent. They are radiographs of one study, which the rules must admit.

    To see the answer only:  dicom-node analyse FILE...

    A study that the node has received:  dicom-node send STUDY DESTINATION

    Exit code 0 only if the destination has taken every result.
    """
    from dicom_node.operate.handing_over import send_files_of_study

    settings = load_settings(config)
    sent = send_files_of_study(settings, destination, files)
    _note_operator(settings, "send files", study_instance_uid=sent.study_instance_uid, destination=destination)
    typer.echo(f"what the results say of the images: {', '.join(sent.decisions)}")
    if sent.problems:
        fail(f"{destination} has taken {sent.taken} of {len(sent.deliveries)} results: {'; '.join(sent.problems)}")
    for remark in sent.left_out:
        typer.echo(f"left out: {remark}")
    typer.echo(f"{destination} has taken all {sent.taken} results of study {sent.study_instance_uid}")


def _note_operator(settings: Settings, action: str, **facts: str | None) -> None:
    from dicom_node.audit import AuditEvent
    from dicom_node.operate.trail import note_here

    note_here(settings, AuditEvent.OPERATOR, action=action, **facts)

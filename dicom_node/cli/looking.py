"""Commands that show something, and change no study: studies, figures, rules, and what is wrong."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from dicom_node.cli.options import DEFAULT_CONFIG, Config, FindingOption, State, StudyUID, fail
from dicom_node.settings import load_settings


def doctor(config: Config = DEFAULT_CONFIG) -> None:
    """Check the set-up, from the configuration to what each archive offers; say how to mend what is wrong.

    Exit code 0 only if nothing is wrong.
    """
    from dicom_node.operate.doctor import run_doctor

    raise typer.Exit(run_doctor(config))


def status(
    *,
    config: Config = DEFAULT_CONFIG,
    state: Annotated[State | None, typer.Option(help="Only studies in this state.", show_default=False)] = None,
    finding: Annotated[
        FindingOption | None, typer.Option(help="Only studies with this said of an image.", show_default=False)
    ] = None,
    search: Annotated[
        str | None,
        typer.Option(help="Part of a Study Instance UID or, with --patients, an accession number; `-`: from stdin."),
    ] = None,
    page: Annotated[int | None, typer.Option(help="Which page of so many studies.", min=1, show_default=False)] = None,
    patients: Annotated[bool, typer.Option("--patients", help="Print whose they are: PATIENT DATA.")] = False,
    limit: Annotated[int, typer.Option(help="How many studies: the newest, or those of a page.", min=1)] = 20,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the newest studies: state, findings, what each destination has and can prove; alarms; disk use.

    With any of --state, --finding, --search, --page or --patients it shows the worklist of the pages instead.

    That has each study once, as its newest version stands: failures first, then what changed last.

    All of it:  dicom-node status --state all

    What failed or is parked, and why:  dicom-node status --state failed

    More with a fracture:  dicom-node status --finding fracture --page 2 --limit 50

    By accession number, typed and so in no history:  dicom-node status --patients --search -

    Names and accession numbers are read from the received files; who has asked for them is in the audit trail.
    """
    from dicom_node.operate.status import show_status, show_worklist
    from dicom_node.operate.worklist import Filter

    settings = load_settings(config)
    if not (state or finding or search or page or patients):
        show_status(settings, limit=limit, as_json=json)
        return
    sought = _read_line("Search for: ") if search == "-" else search or ""
    chosen = Filter(state=state or "all", finding=finding or "all", search=sought.strip(), page=page or 1, rows=limit)
    show_worklist(settings, chosen, patients=patients, as_json=json)


def study(
    study: StudyUID,
    *,
    config: Config = DEFAULT_CONFIG,
    patient: Annotated[
        bool, typer.Option("--patient", help="Print name, ID, birth date, sex, accession number: PATIENT DATA.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option(help="Write the report (PDF) into this file: PATIENT DATA.", dir_okay=False)
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(help="Write images and overlays (PNG) below this folder: PATIENT DATA.", file_okay=False),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show one study as its page does: state, images, findings, destinations, results, and what happened when.

    Without further options it prints UIDs and no patient data.

    Whose it is:  dicom-node study UID --patient

    To look at it:  dicom-node study UID --report report.pdf --pictures pictures

    Patient, report and pictures are read from the files that the node has kept; images may have names burned in.

    Who has asked for them is in the audit trail. Exit code 1 where no such study was received, or a file is missing.
    """
    from dicom_node.operate.study_card import load_study, show_study, write_pictures, write_reports

    settings = load_settings(config)
    found = load_study(settings, study)
    show_study(settings, found, patient=patient, as_json=json)
    written = write_reports(settings, found, report) if report else []
    drawn, problems = write_pictures(settings, found, pictures) if pictures else ([], [])
    for path in (*written, *drawn):
        typer.echo(f"written: {path}", err=True)
    if problems:
        fail("; ".join(problems))


def retention(config: Config = DEFAULT_CONFIG) -> None:
    """Show whose files retention would remove now, and how many are kept for want of proof of delivery.

    Removes nothing: the worker does, by itself.
    """
    from dicom_node.operate.status import show_removable

    show_removable(load_settings(config))


def conformance(
    config: Config = DEFAULT_CONFIG,
    html: Annotated[bool, typer.Option("--html", help="Print a page of HTML; else Markdown.")] = False,
) -> None:
    """Print the DICOM conformance statement of the node with this configuration: what it negotiates, asks and answers.

    For whoever runs the PACS:  dicom-node conformance --html > conformance.html
    """
    from dicom_node.operate.conformance import build_statement, write_html, write_markdown

    statement = build_statement(load_settings(config))
    typer.echo(write_html(statement) if html else write_markdown(statement))


def list_rules(config: Config = DEFAULT_CONFIG) -> None:
    """Show the rules in their order: where each holds, and what becomes of a study then.

    The first that holds for a study decides. What they make of files of yours:  dicom-node rules test FILE...

    Shows the values of their conditions, which may name a patient where the site wrote one.
    """
    from dicom_node.operate.rules import show_rules

    show_rules(load_settings(config))


def explain_rules(
    files: Annotated[list[Path], typer.Argument(help="DICOM files of one or more studies, or folders.", exists=True)],
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Say what the rules make of some files: which one decides and why, and why the others do not.

    Only headers are read; nothing is kept, analysed or sent. To try a rule before the node has it, give a configuration
    of its own with --config.

    Shows values of the files' headers, which may be patient data.
    """
    from dicom_node.operate.rules import show_judgements

    show_judgements(load_settings(config), files)


def statistics(
    config: Config = DEFAULT_CONFIG,
    weeks: Annotated[int, typer.Option(help="How many weeks, the present one included.", min=1, max=520)] = 12,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    charts: Annotated[Path | None, typer.Option(help="Also write charts (SVG) into this folder.")] = None,
) -> None:
    """Show how many images came, what was said of them and how fast: by week, region and sender; and drift.

    The last year, and charts of answers and times for each table:  dicom-node statistics --weeks 52 --charts charts

    It holds no patient data, and outlives the files of the studies.
    """
    from dicom_node.operate.statistics import show_statistics

    show_statistics(load_settings(config), weeks=weeks, as_json=json, charts=charts)


def alerts(
    context: typer.Context,
    config: Config = DEFAULT_CONFIG,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what is wrong now, and who was told of it; `alerts test` tries webhook and e-mail.

    Exit code 0 only if nothing is wrong.
    """
    from dicom_node.operate.alerts import show_alerts

    context.obj = config
    if context.invoked_subcommand is None:
        raise typer.Exit(show_alerts(load_settings(config), as_json=json))


def alerts_test(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Configuration file.")] = None,
) -> None:
    """Send a message to the webhook and by e-mail, as far as they are configured."""
    from dicom_node.operate.alerts import try_channels

    raise typer.Exit(try_channels(load_settings(config or context.obj)))


def _read_line(prompt: str) -> str:
    """Read what must not be an argument, which others on this machine can see."""
    if sys.stdin.isatty():
        typer.echo(prompt, nl=False, err=True)
    return sys.stdin.readline()

"""The command line: `dicom-node --help`.

Commands import what they need when they run, so that a receiver starts without loading models.
"""

import logging
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Literal

import typer

from dicom_node import __version__
from dicom_node.errors import ConfigurationError, NodeError
from dicom_node.languages import LanguageCode
from dicom_node.logs import configure_logging
from dicom_node.processes import keep_private
from dicom_node.settings import Settings, load_settings
from dicom_node.web.commands import tokens as web_tokens
from dicom_node.web.commands import users as web_users
from inference.errors import BundleError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help=(
        "A DICOM node that puts a fracture AI beside any PACS: radiographs in by C-STORE, Grad-CAM Secondary Captures "
        "and a PDF report back into the same study.\n\n[bold]Research use only. Not for diagnosis.[/bold]"
    ),
    epilog="First steps: [bold]dicom-node demo[/bold] shows it at work; [bold]doctor[/bold] checks a set-up.",
)

rules = typer.Typer(no_args_is_help=True, help=r"Which studies are analysed: the \[\[rules]] of the configuration.")

RUNNING = "Run the node"
OPERATING = "Look after it"
TRYING = "Try it"
app.add_typer(web_users, name="web-user", rich_help_panel=OPERATING)
app.add_typer(web_tokens, name="web-token", rich_help_panel=OPERATING)

Config = Annotated[
    Path, typer.Option("--config", "-c", help="Configuration file.", envvar="DICOM_NODE_CONFIG", show_default=True)
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Log every step.")]
StudyUID = Annotated[str, typer.Argument(help="Study Instance UID.", metavar="STUDY")]
Bundles = Annotated[
    Path | None, typer.Option(help="Folder of model bundles; else those of the configuration, else the shipped ones.")
]
State = Literal["all", "receiving", "at work", "done", "failed", "left out"]
FindingOption = Literal["all", "fracture", "no fracture", "uncertain", "not analysed"]
_CONFIG = Path("config/node.toml")
app.add_typer(rules, name="rules", rich_help_panel=OPERATING)


@app.command(rich_help_panel=RUNNING)
def serve(config: Config = _CONFIG, verbose: Verbose = False) -> None:
    """Run the whole node: receiver, worker and web process, restarted when they die.

    Stops on SIGTERM or Ctrl-C: finishes what is in hand within the grace period and exits with 0.
    """
    from dicom_node.processes import supervise

    settings = _prepare(config, verbose=verbose)
    raise typer.Exit(supervise(settings, config, verbose=verbose))


@app.command(rich_help_panel=RUNNING)
def receiver(config: Config = _CONFIG, verbose: Verbose = False) -> None:
    """Run the receiver alone: accepts C-STORE and C-ECHO, keeps the bytes, answers."""
    from dicom_node.receive.storage_scp import run_receiver

    settings = _prepare(config, verbose=verbose)
    with _audited(settings, "receiver"):
        code = run_receiver(settings)
    raise typer.Exit(code)


@app.command(rich_help_panel=RUNNING)
def worker(config: Config = _CONFIG, verbose: Verbose = False) -> None:
    """Run the worker alone: completes studies, analyses them, delivers the results."""
    from dicom_node.worker import run_worker

    raise typer.Exit(run_worker(_prepare(config, verbose=verbose)))


@app.command(rich_help_panel=RUNNING)
def web(config: Config = _CONFIG, verbose: Verbose = False) -> None:
    """Run the web process alone: the pages, POST /predict, /healthz, /readyz, /metrics."""
    from dicom_node.web.server import run_web

    settings = _prepare(config, verbose=verbose)
    with _audited(settings, "web"):
        code = run_web(settings)
    raise typer.Exit(code)


@app.command(rich_help_panel=TRYING)
def analyse(
    paths: Annotated[list[Path], typer.Argument(help="DICOM, PNG or JPEG files, or folders of them.", exists=True)],
    *,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Also write pictures (PNG), reports (PDF) and result objects (DICOM) below it.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="Configuration file of a site: its models, limits, language, AE title."),
    ] = None,
    language: Annotated[
        LanguageCode | None, typer.Option(help="Of pictures and report; else the configuration's, else English.")
    ] = None,
    bundles: Bundles = None,
    runtime: Annotated[
        Literal["onnx", "tensorflow"] | None,
        typer.Option(help="What runs the models; else what the configuration says, else onnx."),
    ] = None,
) -> None:
    """Analyse files without any network and print what was found.

    What a node's upload page says, picture and report too:  dicom-node analyse FILE -c config/node.toml --out out

    --out has a folder for each study: FILE.png of each image, report.pdf, and the result objects. PATIENT DATA.

    Each JSON object holds:

    - path
    - region and region_confidence, or null
    - fracture_probability, or null
    - fracture_type and fracture_type_probability, or null
    - decision: fracture, no fracture, uncertain or not analysed
    - confidence: probability of that decision as a percentage: of a fracture, or of none; or null
    - reason
    - rois: x, y, width, height of each, in source pixels
    - heatmap_peak: x, y, or null
    - flags: remarks, such as why the heat map is withheld
    - models
    """
    from dicom_node.operate.offline import analyse_files

    configure_logging(logging.WARNING)
    settings = load_settings(config) if config else None
    analyse_files(paths, settings=settings, as_json=json, out=out, language=language, bundles=bundles, runtime=runtime)


@app.command(rich_help_panel=TRYING)
def demo(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Your own DICOM, PNG or JPEG files or folders; else sample_studies."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for what comes back.")] = Path("demo_output"),
    archive: Annotated[
        Literal["auto", "orthanc", "builtin"], typer.Option(help="Archive to show it with; auto: Orthanc if installed.")
    ] = "auto",
    viewer: Annotated[
        bool | None,
        typer.Option(
            help="End in a viewer (OHIF, fetched with npm) until interrupted; by default where a person looks on."
        ),
    ] = None,
) -> None:
    """Show the main job: an archive, the node, studies sent as a PACS would, and what comes back.

    Exit code 0 only if every study got its answer.
    """
    from dicom_node.demo.run import run_demo

    looked_at = sys.stdout.isatty() if viewer is None else viewer
    raise typer.Exit(run_demo(paths or [], out=out, archive=archive, viewer=looked_at))


@app.command(rich_help_panel=OPERATING)
def doctor(config: Config = _CONFIG) -> None:
    """Check the set-up, from the configuration to what each archive offers; say how to mend what is wrong.

    Exit code 0 only if nothing is wrong.
    """
    from dicom_node.operate.doctor import run_doctor

    raise typer.Exit(run_doctor(config))


@app.command(rich_help_panel=OPERATING)
def status(
    *,
    config: Config = _CONFIG,
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


@app.command(rich_help_panel=OPERATING)
def study(
    study: StudyUID,
    *,
    config: Config = _CONFIG,
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
        _fail("; ".join(problems))


@app.command(rich_help_panel=OPERATING)
def retry(
    study: Annotated[str | None, typer.Argument(help="Study Instance UID; without it: of every study.")] = None,
    destination: Annotated[str | None, typer.Option(help="Only what this destination did not take.")] = None,
    config: Config = _CONFIG,
) -> None:
    """Try again what has failed or is parked: of one study or of all, for one destination or for all.

    What has failed or is parked, and why:  dicom-node status --state failed

    What a destination did not take, after it was mended:  dicom-node retry --destination archive
    """
    from dicom_node.store import Store

    settings = load_settings(config)
    count = Store(settings.database_url).retry(study, destination)
    if count:
        _note_operator(settings, "retry", study_instance_uid=study, destination=destination)
    else:
        _fail("nothing of that has failed or is parked; `dicom-node status` shows what is")
    typer.echo(f"{count} revision(s) will be tried again")


@app.command(rich_help_panel=OPERATING)
def complete(study: StudyUID, config: Config = _CONFIG) -> None:
    """Treat a study as complete now, without waiting for the quiet period or for images that an archive lists.

    Which wait:  dicom-node status --state receiving

    An image that comes later makes a new version; nothing is lost.
    """
    from dicom_node.store import Store

    settings = load_settings(config)
    if not Store(settings.database_url).force_completion(study):
        _fail(f"study {study} is not waiting for images; `dicom-node status` shows its state")
    _note_operator(settings, "complete", study_instance_uid=study)
    typer.echo(f"study {study} will be analysed at the next sweep")


@app.command(rich_help_panel=OPERATING)
def send(
    study: StudyUID,
    destination: Annotated[str, typer.Argument(help="Name of a destination in the configuration.")],
    config: Config = _CONFIG,
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
        _fail(f"no [[destinations]] of {config} has the name {destination!r}")
    count = Store(settings.database_url).send(study, destination, profiles[destination])
    if not count:
        _fail(f"study {study} has no results that {destination} is not to get already; see `dicom-node status`")
    _note_operator(settings, "send", study_instance_uid=study, destination=destination)
    typer.echo(f"{count} result(s) will be sent to {destination}")


@app.command(rich_help_panel=OPERATING)
def send_files(
    destination: Annotated[str, typer.Argument(help="Name of a destination in the configuration.")],
    files: Annotated[list[Path], typer.Argument(help="DICOM files of one study.", exists=True, dir_okay=False)],
    config: Config = _CONFIG,
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
        _fail(f"{destination} has taken {sent.taken} of {len(sent.deliveries)} results: {'; '.join(sent.problems)}")
    for remark in sent.left_out:
        typer.echo(f"left out: {remark}")
    typer.echo(f"{destination} has taken all {sent.taken} results of study {sent.study_instance_uid}")


@app.command(rich_help_panel=OPERATING)
def retention(config: Config = _CONFIG) -> None:
    """Show whose files retention would remove now, and how many are kept for want of proof of delivery.

    Removes nothing: the worker does, by itself.
    """
    from dicom_node.operate.status import show_removable

    show_removable(load_settings(config))


@app.command(rich_help_panel=OPERATING)
def conformance(
    config: Config = _CONFIG,
    html: Annotated[bool, typer.Option("--html", help="Print a page of HTML; else Markdown.")] = False,
) -> None:
    """Print the DICOM conformance statement of the node with this configuration: what it negotiates, asks and answers.

    For whoever runs the PACS:  dicom-node conformance --html > conformance.html
    """
    from dicom_node.operate.conformance import build_statement, write_html, write_markdown

    statement = build_statement(load_settings(config))
    typer.echo(write_html(statement) if html else write_markdown(statement))


@rules.command("list")
def list_rules(config: Config = _CONFIG) -> None:
    """Show the rules in their order: where each holds, and what becomes of a study then.

    The first that holds for a study decides. What they make of files of yours:  dicom-node rules test FILE...

    Shows the values of their conditions, which may name a patient where the site wrote one.
    """
    from dicom_node.operate.rules import show_rules

    show_rules(load_settings(config))


@rules.command("test")
def explain_rules(
    files: Annotated[list[Path], typer.Argument(help="DICOM files of one or more studies, or folders.", exists=True)],
    config: Config = _CONFIG,
) -> None:
    """Say what the rules make of some files: which one decides and why, and why the others do not.

    Only headers are read; nothing is kept, analysed or sent. To try a rule before the node has it, give a configuration
    of its own with --config.

    Shows values of the files' headers, which may be patient data.
    """
    from dicom_node.operate.rules import show_judgements

    show_judgements(load_settings(config), files)


@app.command(rich_help_panel=OPERATING)
def statistics(
    config: Config = _CONFIG,
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


alerts_app = typer.Typer(invoke_without_command=True)
app.add_typer(alerts_app, name="alerts", rich_help_panel=OPERATING)


@alerts_app.callback()
def alerts(
    context: typer.Context,
    config: Config = _CONFIG,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what is wrong now, and who was told of it; `alerts test` tries webhook and e-mail.

    Exit code 0 only if nothing is wrong.
    """
    from dicom_node.operate.alerts import show_alerts

    context.obj = config
    if context.invoked_subcommand is None:
        raise typer.Exit(show_alerts(load_settings(config), as_json=json))


@alerts_app.command("test")
def alerts_test(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Configuration file.")] = None,
) -> None:
    """Send a message to the webhook and by e-mail, as far as they are configured."""
    from dicom_node.operate.alerts import try_channels

    raise typer.Exit(try_channels(load_settings(config or context.obj)))


@app.callback(invoke_without_command=True)
def _options(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(f"dicom-node {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line; a wrong configuration or bundle is one sentence and exit code 2."""
    keep_private()
    try:
        app()
    except (ConfigurationError, BundleError) as error:
        _fail(str(error), code=2)
    except NodeError as error:
        _fail(str(error))


def _audited(settings: Settings, role: str) -> AbstractContextManager[None]:
    from dicom_node.audit import AuditTrail, running_application

    return running_application(AuditTrail(settings.node.audit_dir, settings.node.ae_title), role)


def _note_operator(settings: Settings, action: str, **facts: str | None) -> None:
    from dicom_node.audit import AuditEvent
    from dicom_node.operate.trail import note_here

    note_here(settings, AuditEvent.OPERATOR, action=action, **facts)


def _read_line(prompt: str) -> str:
    """Read what must not be an argument, which others on this machine can see."""
    if sys.stdin.isatty():
        typer.echo(prompt, nl=False, err=True)
    return sys.stdin.readline()


def _prepare(config: Path, *, verbose: bool) -> Settings:
    from dicom_node.processes import stop_with_supervisor

    configure_logging(logging.INFO if verbose else logging.WARNING)
    logging.getLogger("dicom_node").setLevel(logging.INFO)
    settings = load_settings(config)
    stop_with_supervisor()
    return settings


def _fail(sentence: str, *, code: int = 1) -> None:
    typer.echo(f"dicom-node: {sentence}", err=True)
    sys.exit(code)

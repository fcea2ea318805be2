"""The command line: `dicom-node --help`.

Commands import what they need when they run, so that a receiver starts without loading models.
"""

from typing import Annotated

import typer

from dicom_node import __version__
from dicom_node.cli import acting, looking, running, trying
from dicom_node.cli.options import fail
from dicom_node.errors import ConfigurationError, NodeError
from dicom_node.processes import keep_private
from dicom_node.web.commands import tokens as web_tokens
from dicom_node.web.commands import users as web_users
from inference.errors import BundleError

RUNNING = "Run the node"
OPERATING = "Look after it"
TRYING = "Try it"

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
alerts = typer.Typer(invoke_without_command=True)

for name, group in (("web-user", web_users), ("web-token", web_tokens), ("rules", rules), ("alerts", alerts)):
    app.add_typer(group, name=name, rich_help_panel=OPERATING)
for panel, command in (
    (RUNNING, running.serve),
    (RUNNING, running.receiver),
    (RUNNING, running.worker),
    (RUNNING, running.web),
    (TRYING, trying.analyse),
    (TRYING, trying.demo),
    (OPERATING, looking.doctor),
    (OPERATING, looking.status),
    (OPERATING, looking.study),
    (OPERATING, acting.retry),
    (OPERATING, acting.complete),
    (OPERATING, acting.send),
    (OPERATING, acting.send_files),
    (OPERATING, looking.retention),
    (OPERATING, looking.conformance),
    (OPERATING, looking.statistics),
):
    app.command(rich_help_panel=panel)(command)
rules.command("list")(looking.list_rules)
rules.command("test")(looking.explain_rules)
alerts.callback()(looking.alerts)
alerts.command("test")(looking.alerts_test)


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
        fail(str(error), code=2)
    except NodeError as error:
        fail(str(error))

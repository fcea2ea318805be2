"""`fracture-models`: train, evaluate, calibrate, export and verify bundles."""

import typer

from models.commands import calibrate, card, evaluate, export, reference, train, verify

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    help="Train, evaluate, calibrate, export and verify model bundles.",
)
app.command(epilog=train.EXAMPLES)(train.train)
app.command(epilog=evaluate.EXAMPLES)(evaluate.evaluate)
app.command(epilog=calibrate.EXAMPLES)(calibrate.calibrate)
app.command(epilog=export.EXAMPLES)(export.export)
app.command(epilog=verify.EXAMPLES)(verify.verify)
app.command(epilog=card.EXAMPLES)(card.card)
app.command(epilog=reference.EXAMPLES)(reference.reference)


def main() -> None:
    """Run the command line."""
    app()

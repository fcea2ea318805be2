"""`fracture-models`: train, evaluate and verify bundles."""

import typer

from models.commands.evaluate import evaluate
from models.commands.train import train
from models.commands.verify import verify

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Train, evaluate and verify model bundles.")
for command in (train, verify, evaluate):
    app.command()(command)


def main() -> None:
    """Run the command line."""
    app()

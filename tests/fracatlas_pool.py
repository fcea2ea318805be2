"""Where the FracAtlas pool lies, if it is at hand."""

import os
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]


def find_pool() -> Path | None:
    """Return the FracAtlas pool: named by the variable FRACATLAS, or in a data folder beside the repository."""
    named = os.environ.get("FRACATLAS")
    candidates = [Path(named)] if named else sorted(REPOSITORY.parent.glob("*/data/fracatlas"))
    return next((folder for folder in candidates if (folder / "labels.csv").exists()), None)

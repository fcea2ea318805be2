"""The benchmark that sets the node beside Keras runs with the shipped models: nothing is timed here."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_the_analysis_of_the_shipped_models_is_set_beside_keras():
    options = ["--repeats", "1", "--rows", "400", "--columns", "300"]
    done = subprocess.run(
        [sys.executable, "benchmarks/analysis.py", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Keras / node =" in done.stdout

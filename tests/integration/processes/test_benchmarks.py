"""The benchmarks of analysis and pages run, and say what they are to say: nothing is timed here."""

import subprocess
import sys
from pathlib import Path

from dicom_node.web.navigation import ENTRIES

ROOT = Path(__file__).resolve().parents[3]


def run(benchmark, *options):
    command = [sys.executable, f"benchmarks/{benchmark}", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


def test_the_analysis_of_the_shipped_models_is_set_beside_keras():
    options = ["--repeats", "1", "--rows", "400", "--columns", "300"]
    done = run("analysis.py", *options)
    assert done.returncode == 0, done.stderr
    assert "Keras / node =" in done.stdout


def test_a_page_that_takes_longer_than_the_limit_fails_the_benchmark_of_the_pages():
    """Every page of the navigation is asked for, and the one that is there before anybody has signed in."""
    done = run("web_pages.py", "60", "--limit-ms", "1e9")
    assert done.returncode == 0, done.stderr
    measured = {line.partition("  ")[0] for line in done.stdout.splitlines()}
    assert {entry.path.strip("/") or "worklist" for entry in ENTRIES} | {"login", "study"} <= measured
    assert done.stdout.endswith("within 1e+09 ms: every page\n")
    slow = run("web_pages.py", "60", "--limit-ms", "0")
    assert slow.returncode == 1, slow.stderr
    assert "19 of 20 answers within 0 ms: not worklist, " in slow.stdout

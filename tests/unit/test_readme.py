"""The README says what the program does."""

import re
from pathlib import Path

import typer.main

from dicom_node.cli import app
from dicom_node.operate.offline import to_record
from inference.types import Decision, RadiographAnalysis

REPOSITORY = Path(__file__).resolve().parents[2]
README = (REPOSITORY / "README.md").read_text()


def test_every_command_is_in_the_readme_and_every_command_of_the_readme_exists():
    commands = set(typer.main.get_command(app).commands)
    assert {
        command for command in commands if f"`{command}`" in README or f"dicom-node {command}" in README
    } == commands
    assert set(re.findall(r"dicom-node ([a-z]+)", README)) <= commands


def test_the_keys_of_a_json_line_are_those_of_the_readme():
    record = to_record(Path("a.dcm"), RadiographAnalysis(decision=Decision.NOT_ANALYSED))
    table = README[README.index("| key | content |") : README.index("`--out DIR` writes")]
    keys = re.findall(r"`([a-z_]+)`", "\n".join(line.split("|")[1] for line in table.splitlines()[2:] if "|" in line))
    assert keys == list(record)


def test_every_file_that_the_readme_names_exists():
    for path in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (REPOSITORY / path).exists(), path
    for path in re.findall(r"(?:config|sample_studies|benchmarks)/[a-z_/.]+[a-z]", README):
        assert (REPOSITORY / path).exists(), path


def test_every_folder_of_the_layout_exists():
    layout = README[README.index("## The repository") : README.index("## Develop")]
    for line in layout.splitlines():
        if match := re.match(r"(  )?([a-z_]+)/ ", line):
            parent = REPOSITORY / "dicom_node" if match[1] else REPOSITORY
            assert (parent / match[2]).is_dir(), line

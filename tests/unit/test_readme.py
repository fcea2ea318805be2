"""The README says what the program does."""

import re
from pathlib import Path

import pytest
from command_lines import ROOT, UnknownWordError, all_commands, follow, lines_in, options_of

from dicom_node.operate.record import to_record
from inference.types import Decision, RadiographAnalysis

REPOSITORY = Path(__file__).resolve().parents[2]
README = (REPOSITORY / "README.md").read_text()


def spans_of(row):
    return re.findall(r"`([^`]+)`", row)


TABLE = [line for line in README.splitlines() if line.startswith("| `dicom-node ")]


def test_every_command_and_what_is_in_it_is_in_the_readme():
    named = set(lines_in(README))
    for row in TABLE:
        head, *others = spans_of(row)
        words = head.removeprefix("dicom-node ").split()
        named |= {head.removeprefix("dicom-node "), *others, *(f"{words[0]} {other}" for other in others)}
    for command in all_commands():
        assert any(line == command or line.startswith(f"{command} ") for line in named), command


@pytest.mark.parametrize("line", sorted({*lines_in(README), "status --json"}))
def test_every_command_of_the_readme_exists_with_its_options(line):
    follow(line)


@pytest.mark.parametrize("row", TABLE)
def test_what_a_row_of_the_command_table_names_belongs_to_its_command(row):
    head, *others = spans_of(row)
    command = follow(head.removeprefix("dicom-node "))
    first = ROOT.commands[head.split()[1]]
    for other in others:
        if other.startswith("--"):
            assert other.split()[0] in options_of(command), other
        elif re.fullmatch("[a-z][a-z -]*", other):
            assert other in all_commands() or other in getattr(first, "commands", {}), other


@pytest.mark.parametrize(
    "line", ["stats", "send-file A", "rules tests", "status --states", "web-user add NAME --rolle"]
)
def test_what_does_not_exist_is_found(line):
    for text in (f"see `dicom-node {line}` there", f"```sh\n.venv/bin/dicom-node {line}\n```"):
        (found,) = lines_in(text)
        with pytest.raises(UnknownWordError):
            follow(found)


def test_every_command_that_a_help_text_or_a_message_names_exists_with_its_options():
    texts = [path.read_text() for path in sorted((REPOSITORY / "dicom_node").rglob("*.py"))]
    texts += [command.help or "" for command in all_commands().values()]
    lines = [line for text in texts for line in lines_in(text)]
    assert len(lines) > 30
    for line in lines:
        follow(line)


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

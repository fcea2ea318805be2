import io

from builders import build_dx, phantom, write_part10
from rich.console import Console
from running import Node
from typer.testing import CliRunner

from dicom_node.cli import app
from dicom_node.operate.terminal import print_entry

PATH = "a-folder-with-a-long-name/and-another-one/and-a-file-that-goes-beyond-the-width.dcm"


def printed(*lines, terminal, width=40):
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=width, color_system=None)
    print_entry(console, "wrong", lines, style="red", column=6)
    return out.getvalue().splitlines()


def test_on_a_terminal_lines_wrap_within_their_column():
    assert printed("one two three four five six seven eight", "more", terminal=True) == [
        "wrong one two three four five six seven",
        "      eight",
        "      more",
    ]


def test_a_path_stays_whole_on_a_terminal():
    assert printed(PATH, terminal=True) == ["wrong " + PATH]


def test_for_another_program_every_line_stays_whole():
    assert printed("word " * 20, terminal=False) == ["wrong " + "word " * 20]


def test_brackets_are_no_markup():
    assert printed("table [web], key [/x]", terminal=False) == ["wrong table [web], key [/x]"]


def test_only_the_mark_is_coloured():
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, color_system="standard", highlight=False, no_color=False)
    print_entry(console, "ok", ["fine", ""], style="green", column=6)
    assert out.getvalue() == "\x1b[32mok    \x1b[0mfine\n"


def test_names_of_tables_are_printed_with_their_brackets(tmp_path):
    """Rich takes what stands in brackets for a colour, unless it is told not to."""
    node = Node(tmp_path, {"archive": 4242}, more="[retention]\nfiles_days = 0.0")
    image = write_part10(build_dx(phantom(48, 36)), tmp_path / "image.dcm")
    for words, said in (
        (["rules", "list"], "has no [[rules]]"),
        (["rules", "test", str(image)], "has no [[rules]]"),
        (["retention"], "never ([retention] files_days = 0)"),
        (["rules", "--help"], "the [[rules]] of the configuration"),
    ):
        config = [] if "--help" in words else ["--config", str(node.config)]
        shown = CliRunner().invoke(app, [*words, *config])
        assert shown.exit_code == 0, shown.output
        assert said in " ".join(shown.output.split())

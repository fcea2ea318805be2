"""How the commands for people print: a coloured word, and what it is about in a column beside it."""

import textwrap
from collections.abc import Iterable

from rich.console import Console
from rich.text import Text


def print_entry(console: Console, mark: str, lines: Iterable[str], *, style: str, column: int) -> None:
    """Print `mark` in its colour and `lines` from `column` on; empty ones are left out.

    On a terminal they wrap within their column. UIDs and paths stay whole, to be copied, and so does every line that
    goes to a file or another program. Nothing in them is taken for markup.
    """
    head = (mark.ljust(column), style)
    width = max(console.width - column, 20)
    for line in filter(None, lines):
        pieces = [line]
        if console.is_terminal:
            pieces = textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False)
        for piece in pieces:
            console.print(Text.assemble(head, piece), soft_wrap=True)
            head = (" " * column, "")

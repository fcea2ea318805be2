"""A document of sections, paragraphs and tables, written as Markdown or HTML."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True)
class Table:
    """A table; a cell holds one line of text."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Section:
    """A heading with what stands below it, in order; sections inside it are numbered."""

    title: str
    blocks: Sequence["str | Table | Section"] = ()


_STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:70em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse;margin:1em 0}th,td{border:1px solid #888;padding:.25em .6em;text-align:left;"
    "vertical-align:top}th{background:#eee}"
)


def write_markdown(document: Section) -> str:
    """Write a document as Markdown."""
    lines = [f"# {document.title}", ""]
    for number, block in _numbered(document):
        if isinstance(block, Section):
            lines += [f"{'#' * (number.count('.') + 2)} {number} {block.title}", ""]
        elif isinstance(block, Table):
            divider = ["---"] * len(block.header)
            lines += [_row(cells) for cells in (block.header, divider, *block.rows)] + [""]
        else:
            lines += [block, ""]
    return "\n".join(lines)


def write_html(document: Section) -> str:
    """Write a document as a whole page of HTML, with everything in it."""
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(document.title)}</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n{write_html_body(document)}</body></html>\n"
    )


def write_html_body(document: Section) -> str:
    """Write a document as HTML, to be put into a page."""
    parts = [f"<h1>{escape(document.title)}</h1>"]
    for number, block in _numbered(document):
        if isinstance(block, Section):
            level = min(number.count(".") + 2, 6)
            parts.append(f"<h{level}>{number} {escape(block.title)}</h{level}>")
        elif isinstance(block, Table):
            head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in block.header)
            rows = "\n".join(
                "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in block.rows
            )
            parts.append(f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table>")
        else:
            parts.append(f"<p>{escape(block)}</p>")
    return "\n".join(parts) + "\n"


def _numbered(section: Section, above: str = "") -> Iterator[tuple[str, "str | Table | Section"]]:
    """Walk through all blocks in order; a section comes with its number, before what is in it."""
    count = 0
    for block in section.blocks:
        if isinstance(block, Section):
            count += 1
            number = f"{above}{count}"
            yield number, block
            yield from _numbered(block, f"{number}.")
        else:
            yield "", block


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

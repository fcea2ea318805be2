"""What came back, as a table on a terminal of 80 columns."""

from collections.abc import Sequence

from rich import box
from rich.table import Column, Table

from dicom_node.demo.gallery import Answer
from dicom_node.demo.node import QUIET_S
from inference.probabilities import format_percentage


def build_table(answers: Sequence[Answer]) -> Table:
    """Build a row for each image; what holds for the whole study stands in its first one."""
    table = Table(
        Column("study", overflow="fold"),
        Column("images", justify="right"),
        Column("region", no_wrap=True),
        Column("finding", no_wrap=True),
        Column("prob.", justify="right"),
        Column("sec.", justify="right"),
        Column("SC", justify="right"),
        Column("PDF", justify="right"),
        caption="prob.: probability of a fracture; sec.: from the last image to the archived result, "
        f"{QUIET_S} s of them waiting for more images; SC, PDF: Secondary Captures and reports returned",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    for answer in answers:
        first = [answer.label, str(len(answer.sources))]
        last = [f"{answer.seconds:.1f}", str(len(answer.summaries + answer.captures)), str(len(answer.reports))]
        for finding in answer.findings:
            probability = "-" if finding.probability is None else format_percentage(finding.probability)
            table.add_row(*first, finding.region or "-", finding.decision, probability, *last)
            first, last = ["", ""], ["", "", ""]
    return table

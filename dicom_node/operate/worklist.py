"""The worklist: studies by state, finding or search, failures first. What its page and `dicom-node status` ask for."""

from dataclasses import dataclass, replace

from dicom_node.operate.identities import FoundStudies, Identities, Identity
from dicom_node.store import RECEIVING, RevisionState, Store, WorklistEntry, WorklistQuery
from inference.phrases import Phrase
from inference.types import Decision

ROWS = 50
STATES: dict[str, tuple[str, ...]] = {
    Phrase("all"): (),
    Phrase("receiving"): (RECEIVING,),
    Phrase("at work"): (RevisionState.QUEUED, RevisionState.ANALYSING, RevisionState.DELIVERING),
    Phrase("done"): (RevisionState.DONE,),
    Phrase("failed"): (RevisionState.FAILED,),
    Phrase("left out"): (RevisionState.EXCLUDED, RevisionState.SUPERSEDED),
}
FINDINGS = ("all", *Decision)


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which studies are asked for. A state or finding that is none of the known ones asks for all."""

    state: str = "all"
    finding: str = "all"
    page: int = 1
    search: str = ""
    """Part of a UID or, for those who may see patients, an accession number."""
    rows: int = ROWS
    """Studies of one page."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the list."""

    entry: WorklistEntry
    identity: Identity | None


@dataclass(frozen=True, kw_only=True)
class Worklist:
    """A page of the list."""

    rows: tuple[Row, ...]
    total: int
    """Studies on all pages."""
    pages: int
    found: FoundStudies | None
    """What was looked for by accession number; None where that was not."""

    @property
    def named(self) -> list[str]:
        """Study Instance UIDs of those whose patients it shows."""
        return [row.entry.study_instance_uid for row in self.rows if row.identity is not None]


def gather_worklist(
    store: Store, chosen: Filter, identities: Identities | None, *, within_s: float | None = 0.1
) -> Worklist:
    """Gather a page of the list.

    Parameters
    ----------
    identities
        Whom studies are of, for somebody who may see that; else None.
    within_s
        How long headers may be read for an accession number; None: until all of them are.
    """
    sought = chosen.search and identities
    found = sought.find_accession(chosen.search, within_s=within_s) if sought else None
    query = WorklistQuery(
        states=STATES.get(chosen.state, ()),
        decision=chosen.finding if chosen.finding in set(Decision) else "",
        text=chosen.search,
        studies=frozenset(sorted(found.studies)[: chosen.rows]) if found else frozenset(),
        limit=chosen.rows,
        offset=(chosen.page - 1) * chosen.rows,
    )
    entries, total = store.worklist(query)
    if not entries and chosen.page > 1:  # beyond the last page nothing is counted
        _, total = store.worklist(replace(query, limit=1, offset=0))
    patients = identities.of_studies([one.study_instance_uid for one in entries]) if identities else {}
    return Worklist(
        rows=tuple(Row(entry=one, identity=patients.get(one.study_instance_uid)) for one in entries),
        total=total,
        pages=max(1, -(-total // chosen.rows)),
        found=found,
    )

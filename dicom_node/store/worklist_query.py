"""Which studies a worklist asks for, and how they are found: each with its newest version, however many there are."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from dicom_node.store.records import DeliveryState, RevisionState
from dicom_node.store.schema import deliveries, findings, revisions, studies, timings

RECEIVING = "receiving"
"""State of a study with instances that belong to no revision yet; the others are those of its newest revision."""


@dataclass(frozen=True, kw_only=True)
class WorklistQuery:
    """Which studies are asked for."""

    states: tuple[str, ...] = ()
    """Empty: all. Failed is also what has parked results, whatever its other destinations wait for."""
    decision: str = ""
    """Said of one of its images in its newest version; empty: whatever was said."""
    text: str = ""
    """Part of its Study Instance UID; empty: all."""
    studies: frozenset[str] = frozenset()
    """Study Instance UIDs that are asked for as well, whether `text` is part of them or not."""
    limit: int = 50
    offset: int = 0


def select_studies() -> sa.Subquery:
    """Join each study with its newest revision."""
    key = revisions.c.study_instance_uid
    # Not by the greatest version of each study: that is found for all of them before one is looked at.
    newer = revisions.alias()
    is_later = (newer.c.study_instance_uid == key, newer.c.version > revisions.c.version)
    is_newest = ~sa.exists().where(*is_later).correlate(revisions)
    state = sa.case((studies.c.first_open_at.is_not(None), RECEIVING), else_=revisions.c.state)
    changed_at = sa.func.coalesce(revisions.c.changed_at, 0.0)
    latest_at = sa.case((studies.c.last_received_at > changed_at, studies.c.last_received_at), else_=changed_at)
    return (
        sa.select(
            studies.c.study_instance_uid,
            studies.c.last_received_at,
            studies.c.listing,
            revisions.c.digest,
            revisions.c.version,
            revisions.c.reason,
            revisions.c.expectation,
            revisions.c.state.label("version_state"),
            state.label("state"),
            latest_at.label("latest_at"),
        )
        .select_from(studies)
        .outerjoin(revisions, sa.and_(key == studies.c.study_instance_uid, is_newest))
        .subquery()
    )


def has_failed(chosen: sa.Subquery) -> sa.ColumnElement[bool]:
    """Tell whether somebody must look at a study: its newest version failed, or a destination's results are parked."""
    key = sa.tuple_(chosen.c.study_instance_uid, chosen.c.digest)
    parked = sa.select(deliveries.c.study_instance_uid, deliveries.c.digest)
    # One list of all that is parked, which is little: to look for each study costs more.
    among = key.in_(parked.where(deliveries.c.state == DeliveryState.PARKED))
    return sa.or_(chosen.c.version_state == RevisionState.FAILED, among)


def select_shown(chosen: sa.Subquery) -> sa.Select[Any]:
    """Select all that is shown of studies but what other tables hold several rows of."""
    same = (timings.c.study_instance_uid == chosen.c.study_instance_uid, timings.c.digest == chosen.c.digest)
    took = (timings.c.made_at - timings.c.received_at).label("result_s")
    return sa.select(chosen, took).select_from(chosen.outerjoin(timings, sa.and_(*same)))


def list_conditions(query: WorklistQuery, chosen: sa.Subquery) -> list[sa.ColumnElement[bool]]:
    """List the conditions that choose among the studies."""
    conditions: list[sa.ColumnElement[bool]] = []
    if query.states:
        among = chosen.c.state.in_(query.states)
        conditions.append(sa.or_(among, has_failed(chosen)) if RevisionState.FAILED in query.states else among)
    if query.decision:
        same = (findings.c.study_instance_uid == chosen.c.study_instance_uid, findings.c.digest == chosen.c.digest)
        conditions.append(sa.exists().where(*same, findings.c.decision == query.decision))
    if query.text:
        found = chosen.c.study_instance_uid.contains(query.text, autoescape=True)
        conditions.append(sa.or_(found, chosen.c.study_instance_uid.in_(query.studies)))
    return conditions

"""What archives said, as it is kept in rows: a study's latest listing, and what of it a revision lacked."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from dicom_node.store.records import OpenStudy
from dicom_node.store.schema import instances, studies
from dicom_node.values import Expectation, ListedImage
from inference.phrases import Phrase


def encode_listing(archive: str, images: Sequence[ListedImage] | None) -> dict[str, Any]:
    """Encode what an archive listed; None: it could not be asked."""
    return {"archive": archive, "images": None if images is None else [asdict(image) for image in images]}


def compare(listing: Mapping[str, Any] | None, received: Collection[str]) -> Expectation | None:
    """Compare a listing with the SOP Instance UIDs that have come; None where no archive was asked."""
    if listing is None:
        return None
    images = listing["images"]
    if images is None:
        return Expectation(archive=listing["archive"], listed=None)
    missing = tuple(ListedImage(**image) for image in images if image["sop_instance_uid"] not in received)
    return Expectation(archive=listing["archive"], listed=len(images), missing=missing)


def decode_expectation(row: Mapping[str, Any] | None) -> Expectation | None:
    """Decode what `dataclasses.asdict` made of an expectation."""
    if row is None:
        return None
    return Expectation(**{**row, "missing": tuple(ListedImage(**image) for image in row["missing"])})


def describe_expectation(expectation: Expectation) -> str:
    """Say for an operator what an archive said."""
    if expectation.listed is None:
        return Phrase("{archive} could not be asked which images there are", archive=expectation.archive)
    if expectation.listed == 1:
        said = Phrase("{archive} lists 1 image", archive=expectation.archive)
    else:
        said = Phrase("{archive} lists {number} images", archive=expectation.archive, number=expectation.listed)
    missing = len(expectation.missing)
    return Phrase("{listed}, {missing} of them not here", listed=said, missing=missing) if missing else said


def list_open_studies(connection: sa.Connection, *where: sa.ColumnElement[bool]) -> list[OpenStudy]:
    """List studies with instances that belong to no revision yet, longest open first."""
    is_open = (studies.c.first_open_at.is_not(None), *where)
    rows = connection.execute(sa.select(studies).where(*is_open).order_by(studies.c.first_open_at)).mappings().all()
    same = instances.c.study_instance_uid == studies.c.study_instance_uid
    sent = sa.select(studies.c.study_instance_uid, instances.c.calling_ae_title).join(instances, same).where(*is_open)
    senders: dict[str, set[str]] = {}
    for study_instance_uid, ae_title in connection.execute(sent.distinct()) if rows else ():
        senders.setdefault(study_instance_uid, set()).add(ae_title)
    return [
        OpenStudy(
            **{name: row[name] for name in row if name != "listing"},
            senders=tuple(sorted(senders.get(row["study_instance_uid"], ()))),
            expectation=_to_expectation(connection, row),
        )
        for row in rows
    ]


def _to_expectation(connection: sa.Connection, row: sa.RowMapping) -> Expectation | None:
    if row["listing"] is None:
        return None
    return compare(row["listing"], list_received_uids(connection, row["study_instance_uid"]))


def list_received_uids(connection: sa.Connection, study_instance_uid: str) -> set[str]:
    """List the SOP Instance UIDs of everything that has come of a study."""
    query = sa.select(instances.c.sop_instance_uid).where(instances.c.study_instance_uid == study_instance_uid)
    return set(connection.execute(query).scalars())

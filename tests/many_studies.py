"""A database as it is after years: thousands of studies, delivered to two archives, written in one transaction."""

import random

from dicom_node.store import Store
from dicom_node.store.schema import (
    deliveries,
    dispatches,
    findings,
    image_statistics,
    instances,
    results,
    revision_instances,
    revisions,
    studies,
    timings,
)

REGIONS = ("HAND", "FOREARM", "KNEE", "ANKLE_FOOT")
IMAGES = 3
"""Of each study."""


def fill(store: Store, count: int, *, until: float, every_s: float, seed: int = 0) -> None:
    """Add `count` finished studies of three images, the last one made at `until`, one every so many seconds before."""
    chance = random.Random(seed)  # noqa: S311  # the same numbers each time
    rows: dict[str, list[dict[str, object]]] = {}
    for number in range(count):
        for name, row in _study(chance, number, until - (count - 1 - number) * every_s):
            rows.setdefault(name, []).append(row)
    tables = (studies, instances, revisions, revision_instances, results, findings)
    tables += (deliveries, dispatches, image_statistics, timings)
    with store._writing() as connection:  # noqa: SLF001  # thousands of rows at once
        for table in tables:
            connection.execute(table.insert(), rows[table.name])


def _study(chance, number, at):
    study, sender = f"2.25.{number + 1}", chance.choice(("CR_ROOM_1", "CR_ROOM_2"))
    key = {"study_instance_uid": study, "digest": f"{number:032x}"}
    waited_s = chance.uniform(1, 40)
    yield "studies", {"study_instance_uid": study, "last_received_at": at - waited_s, "forced": False}
    times = {"created_at": at - 1, "changed_at": at}
    yield "revisions", {**key, **times, "version": 1, "state": "done", "reason": "", "attempt": 1}
    yield "timings", {**key, "sender": sender, "received_at": at - waited_s, "made_at": at, "delivered_at": at + 3}
    for image in range(IMAGES):
        uid = f"{study}.{image}"
        row = {"sop_class_uid": "1.9", "series_instance_uid": f"{study}.9", "path": f"{study}/{uid}.dcm"}
        more = {"transfer_syntax_uid": "1.2", "calling_ae_title": sender, "sha256": "0" * 64, "size": 10_000_000}
        about = {**row, **more, "role": "image", "received_at": at - waited_s, "removed_at": None}
        yield "instances", {"sop_instance_uid": uid, "study_instance_uid": study, **about}
        yield "revision_instances", {**key, "sop_instance_uid": uid}
        probability = chance.random()
        said = "fracture" if probability > 0.8 else "uncertain" if probability > 0.7 else "no fracture"
        region = chance.choice(REGIONS)
        finding = {"decision": said, "region": region, "probability": probability, "reason": ""}
        yield "findings", {**key, "sop_instance_uid": uid, **finding}
        models = {"region_model": "region 1.1.0", "fracture_model": "fracture 1.1.1"}
        kept = {**models, "made_at": at, "sender": sender, "scope_distance": 0.5}
        yield "image_statistics", {"study_instance_uid": study, "sop_instance_uid": uid, **finding, **kept}
        made = {"sop_instance_uid": f"{uid}.5", "kind": "secondary capture", "source_sop_instance_uid": uid}
        yield "results", {**key, **made, **row, "position": image}
        for destination in ("archive", "backup"):
            sent = {"sop_instance_uid": f"{uid}.5", "state": "delivered", "changed_at": at + 3, "attempts": 1}
            yield "deliveries", {**key, **sent, "destination": destination, "detail": "", "warning": ""}
    for destination in ("archive", "backup"):
        yield "dispatches", {**key, "destination": destination, "tries": 1, "next_try_at": at}

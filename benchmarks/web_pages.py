"""How long the pages take with many studies in the database: `python benchmarks/web_pages.py [STUDIES]`.

On a machine that does other work at the same time, the processor's time says more than the clock's.

Each study has three images with their files, findings, four results at two destinations, and ten events; one came
every ten minutes, up to now. The limit is 200 ms a page.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import sqlalchemy as sa
from fastapi.testclient import TestClient
from httpx2 import Response
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from dicom_node.settings import Destination, NodeSettings, Sender, Settings
from dicom_node.store import Accounts, Store
from dicom_node.store.schema import (
    create_engine,
    deliveries,
    events,
    findings,
    image_statistics,
    instances,
    results,
    revision_instances,
    revisions,
    studies,
    timings,
)
from dicom_node.web.application import build_app
from dicom_node.web.roles import Role
from dicom_node.web.sign_in import build_user

_ADDRESS, _PASSWORD = "http://127.0.0.1:8080", "only for the benchmark"
_STATES = ("done", "done", "done", "delivering", "failed")
_DECISIONS = ("fracture", "no fracture", "uncertain", "not analysed")
_LIMIT_MS = 200
_EVERY_S = 600
_REGIONS = ("HAND", "KNEE", "ANKLE_FOOT")


def main() -> None:
    """Fill a database, ask for each page, print how long it took."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = Settings(
            node=NodeSettings(ae_title="NODE", data_dir=folder),
            senders=(Sender(ae_title="A"),),
            destinations=(Destination(name="archive", ae_title="A", host="127.0.0.1", port=4242),),
        )
        with closing(Store(settings.database_url)) as store, closing(Accounts(settings.database_url)) as accounts:
            fill(settings, count)
            accounts.add_user(build_user("reader", _PASSWORD, Role.ADMINISTRATOR))
            app = build_app(settings, store, accounts)
            browser = TestClient(app, base_url=_ADDRESS, headers={"Accept": "text/html", "Origin": _ADDRESS})
            browser.post("/login", data={"name": "reader", "password": _PASSWORD})
            ask(browser, count)
            app.state.site.close()


def ask(browser: TestClient, count: int) -> None:
    """Ask for each page 20 times."""
    token = browser.get("/account").text.split('name="form_token" value="')[1][:64]
    form = {"form_token": token}
    print(f"{count} studies; ms{'first':>20} {'median':>10} {'worst':>10} {'processor':>10}")
    show("worklist", lambda: browser.get("/"))
    show("worklist, last page", lambda: browser.get("/", params={"page": count // 50}))
    show("worklist, failed", lambda: browser.get("/", params={"state": "failed"}))
    show("worklist, uncertain", lambda: browser.get("/", params={"finding": "uncertain"}))
    begun = time.perf_counter()
    while "studies are read so far" in browser.post("/", data={**form, "search": "A7"}).text:
        time.sleep(0.1)
    print(f"{'accession numbers read in':34} {time.perf_counter() - begun:.1f} s")
    show("worklist, by UID", lambda: browser.post("/", data={**form, "search": f"2.25.{count - 1}"}))
    show("worklist, by accession", lambda: browser.post("/", data={**form, "search": f"A{count - 1}"}))
    show("study", lambda: browser.get(f"/study/2.25.{count - 1}"))
    for page in ("statistics", "statistics?weeks=52", "rules", "doctor", "conformance", "account", "users"):
        show(page, partial(browser.get, f"/{page}"))


def show(what: str, request: Callable[[], Response]) -> None:
    """Time one page."""
    taken = []
    processor = time.process_time()
    for _ in range(20):
        begun = time.perf_counter()
        answer = request()
        taken.append((time.perf_counter() - begun) * 1000)
        if answer.status_code != 200:
            raise SystemExit(f"{what}: {answer.status_code}")
    processor = (time.process_time() - processor) * 1000 / len(taken)
    median = statistics.median(taken)
    verdict = "" if median < _LIMIT_MS else f"  more than {_LIMIT_MS} ms"
    print(f"{what:34} {taken[0]:10.0f} {median:10.0f} {max(taken):10.0f} {processor:10.0f}{verdict}")


def fill(settings: Settings, count: int) -> None:
    """Write the rows of so many studies, and the headers of their files."""
    rows: dict[sa.Table, list[dict[str, object]]] = {}
    now = time.time()
    for number in range(count):
        for table, values in build_rows(number, at=now - _EVERY_S * (count - number)):
            rows.setdefault(table, []).append(values)
        write_header(settings.node.spool_dir / f"2.25.{number}" / "0.dcm", number)
    engine = create_engine(settings.database_url)
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        for table, values_of_all in rows.items():
            connection.execute(table.insert(), values_of_all)
    engine.dispose()


def build_rows(number: int, *, at: float) -> list[tuple[sa.Table, dict[str, object]]]:
    """Build the rows of one study that came at a time."""
    study, digest = f"2.25.{number}", f"{number:032x}"
    key = {"study_instance_uid": study, "digest": digest}
    state, decision = _STATES[number % len(_STATES)], _DECISIONS[number % len(_DECISIONS)]
    revision = {"version": 1, "created_at": at, "state": state, "changed_at": at + 9, "reason": "", "attempt": 1}
    rows = [
        (studies, {"study_instance_uid": study, "last_received_at": at, "forced": False, "first_open_at": None}),
        (revisions, {**key, **revision}),
        (timings, {**key, "sender": "A", "received_at": at, "made_at": at + 9, "delivered_at": at + 12}),
    ]
    kept = {"made_at": at + 9, "sender": "A", "region_model": "region 1.1.0", "fracture_model": "fracture 1.2.0"}
    kept["scope_distance"] = 0.5
    for image in range(3):
        uid = f"{study}.{image}"
        received = {
            "series_instance_uid": study,
            "sop_class_uid": "1.2.840.10008.5.1.4.1.1.1",
            "path": f"{study}/0.dcm",
        }
        received |= {"transfer_syntax_uid": "1.2.840.10008.1.2.1", "calling_ae_title": "A", "sha256": "0" * 64}
        received |= {"size": 1, "role": "image", "received_at": at}
        said = {"decision": decision, "region": _REGIONS[image], "probability": 0.5, "reason": ""}
        rows += [
            (instances, {"sop_instance_uid": uid, "study_instance_uid": study, **received}),
            (revision_instances, {**key, "sop_instance_uid": uid}),
            (findings, {**key, "sop_instance_uid": uid, **said}),
            (image_statistics, {"study_instance_uid": study, "sop_instance_uid": uid, **said, **kept}),
        ]
    for position in range(4):
        uid = f"{study}.9.{position}"
        made = {"sop_class_uid": "1.2.840.10008.5.1.4.1.1.7", "series_instance_uid": f"{study}.9", "path": "x"}
        result = {**key, "sop_instance_uid": uid, "kind": "secondary capture", "position": position, **made}
        rows.append((results, result))
        for name in ("archive", "second"):
            sent = {"state": "delivered", "changed_at": at, "sent_at": at, "committed_at": at, "verified_at": at}
            rows.append((deliveries, {**key, "sop_instance_uid": uid, "destination": name, **sent}))
    rows += [(events, {"at": at, "study_instance_uid": study, "what": f"event {event}"}) for event in range(10)]
    return rows


def write_header(path: Path, number: int) -> None:
    """Write a file with a patient and an accession number."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = f"2.25.{number}.0"
    ds.PatientName, ds.PatientID, ds.AccessionNumber = f"Drawn^{number}", f"P{number}", f"A{number}"
    path.parent.mkdir(parents=True)
    ds.save_as(path, enforce_file_format=True)


if __name__ == "__main__":
    main()

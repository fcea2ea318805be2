"""Deliveries without the workflow engine: results in a store, one try at a time, and archives that answer as told."""

import socket
import struct
import threading
import time
from contextlib import contextmanager, suppress
from io import BytesIO

import pytest
from builders import build_pdf, build_sc, write_part10
from pydicom import Dataset, dcmread
from pydicom.uid import (
    Comprehensive3DSRStorage,
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    GrayscaleSoftcopyPresentationStateStorage,
    KeyObjectSelectionDocumentStorage,
    SecondaryCaptureImageStorage,
    generate_uid,
)
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import (
    PatientRootQueryRetrieveInformationModelFind,
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
    StudyRootQueryRetrieveInformationModelFind,
    Verification,
)
from raw_peer import ASSOCIATE_RJ
from stored_rows import build_row

from dicom_node.deliver import Prover, send_pending
from dicom_node.receive.storage_scp import start_receiver
from dicom_node.settings import Destination, NodeSettings, ReceiveSettings, Sender, Settings
from dicom_node.store import DueDelivery, Store, StoredResult

AE_TITLE = "ARCHIVE"


class DeliveryBench:
    """A revision with two results, a Secondary Capture and a PDF, on their way to one destination."""

    def __init__(self, folder, port, *, patient_id="PHANTOM-1", kinds=("result", "result"), **options):
        options = {"connection_timeout_s": 5, "response_timeout_s": 20, "report_wait_s": 0, **options}
        self.destination = Destination(name="archive", ae_title=AE_TITLE, host="127.0.0.1", port=port, **options)
        self.node = NodeSettings(ae_title="FRACTUREAI", data_dir=folder, grace_s=2)
        self.store = Store(f"sqlite:///{folder / 'node.sqlite'}")
        self.study = generate_uid()
        ds = [build(StudyInstanceUID=self.study, PatientID=patient_id) for build in (build_sc, build_pdf)]
        self.results = [self._write(one, kind) for one, kind in zip(ds, kinds, strict=True)]
        self.store.add_instances([self._image()])
        self.store.close_revision(self.study, time.time())
        (unmade,) = self.store.unmade_revisions()
        self.store.add_results(self.study, unmade.digest, self.results, [], [self.destination.name])
        self.store.set_revision_state(self.study, unmade.digest, "delivering")
        self.due = DueDelivery(
            study_instance_uid=self.study, digest=unmade.digest, destination=self.destination.name, tries=0
        )

    def _write(self, ds, kind):
        path = f"{ds.SOPInstanceUID}.dcm"
        write_part10(ds, self.node.results_dir / path)
        return StoredResult(
            sop_instance_uid=ds.SOPInstanceUID,
            sop_class_uid=ds.SOPClassUID,
            series_instance_uid=ds.SeriesInstanceUID,
            kind=kind,
            path=path,
        )

    def _image(self):
        return build_row(generate_uid(), self.study)

    def send(self):
        send_pending(self.destination, self.node, self.store, self.due)

    def prove(self):
        Prover(self.destination, self.node, self.store, self.due).prove()

    def attempt(self):
        """Make one try, as the workflow does; return what the status says of the destination afterwards."""
        self.due = self.store.begin_try(self.due, time.time() + 1000)
        self.send()
        self.prove()
        self.store.finish_delivered(believed=self.believed)
        return self.now

    @property
    def believed(self):
        """Names of the destinations whose Success is proof enough, as the settings list them."""
        return [self.destination.name] if self.destination.is_believed else []

    @property
    def now(self):
        return self.store.status(1)[0].destinations[0]

    @property
    def state(self):
        return self.store.status(1)[0].state

    @property
    def is_due(self):
        """Whether the next sweep would try again at once."""
        return bool(self.store.due_deliveries(time.time()))

    def receiver(self):
        """Start the node's receiver on a free port, for reports on associations of the archive's own."""
        settings = Settings(
            node=self.node,
            senders=(Sender(ae_title="SOMEBODY"),),
            destinations=(self.destination,),
            receive=ReceiveSettings(minimum_free_mb=1),
        )
        # A free port is for tests alone: the configuration file does not take 0.
        return start_receiver(settings.model_copy(update={"node": settings.node.model_copy(update={"port": 0})}))


OFFERS = {
    "store": [SecondaryCaptureImageStorage, EncapsulatedPDFStorage],
    "forms": [
        Comprehensive3DSRStorage,
        GrayscaleSoftcopyPresentationStateStorage,
        KeyObjectSelectionDocumentStorage,
    ],
    "capture": [SecondaryCaptureImageStorage],
    "commitment": [StorageCommitmentPushModel],
    "find": [StudyRootQueryRetrieveInformationModelFind, PatientRootQueryRetrieveInformationModelFind],
    "study root find": [StudyRootQueryRetrieveInformationModelFind],
}
"""SOP classes by the word that stands for them."""


class ScriptedArchive:
    """A Storage, Query and Storage Commitment SCP that answers as it is told."""

    def __init__(
        self,
        *,
        store=(0x0000,),
        keeps=True,
        offers=("store", "commitment", "find"),
        find=None,
        syntaxes=None,
        **options,
    ):
        """Take statuses of successive C-STORE responses (the last one stays); the rest see below."""
        self.statuses = list(store)
        self.keeps = keeps
        self.find_status = find
        self.report = options.pop("report", None)
        """How it reports: None never, "same" on the association of the request, a port: on a new one to there."""
        self.action_status = options.pop("action", 0x0000)
        self.delay_s = options.pop("delay_s", 0)
        self.patient_id = options.pop("patient_id", None)
        """Under which identifier it files what it is sent, where that is another one."""
        assert not options
        self.syntaxes = syntaxes
        self.kept = {}
        self.received = []
        self.asked = []
        self._threads = []
        ae = AE(ae_title=AE_TITLE)
        ae.add_supported_context(Verification)
        self._support(ae, offers)
        handlers = [
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_C_FIND, self._find),
            (evt.EVT_N_ACTION, self._act),
        ]
        self._server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        self.port = self._server.server_address[1]

    def _support(self, ae, offers):
        for offer in offers:
            for sop_class in OFFERS[offer]:
                ae.add_supported_context(sop_class, *([self.syntaxes] if self.syntaxes and offer == "store" else []))

    def offer(self, *more):
        """Offer more, from the next association on."""
        self._support(self._server.ae, more)
        self._server.contexts = self._server.ae.supported_contexts

    def stop(self):
        for thread in self._threads:
            thread.join()
        self._server.shutdown()

    def _store(self, event):
        ds = dcmread(BytesIO(event.encoded_dataset()))
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        self.received.append(ds.SOPInstanceUID)
        if self.keeps and (status & 0xF000 == 0xB000 or status == 0):
            ds.PatientID = ds.PatientID if self.patient_id is None else self.patient_id
            self.kept[ds.SOPInstanceUID] = ds
        time.sleep(self.delay_s)
        return status

    def _find(self, event):
        if self.find_status is not None:
            yield self.find_status, None
            return
        query = event.identifier
        seen = set()
        for ds in self.kept.values():
            keys = [elem for elem in query if elem.keyword.endswith(("UID", "ID")) and elem.value]
            answer = Dataset()
            answer.SpecificCharacterSet = "ISO_IR 192"
            for keyword in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
                if keyword in query:
                    setattr(answer, keyword, getattr(ds, keyword))
            if all(ds[elem.tag].value == elem.value for elem in keys) and str(answer) not in seen:
                seen.add(str(answer))
                yield 0xFF00, answer

    def _act(self, event):
        self.asked.append(event.action_information)
        if self.report is not None:
            thread = threading.Thread(target=self._report, args=(event.assoc, event.action_information))
            self._threads.append(thread)
            thread.start()
        return self.action_status, None

    def _report(self, assoc, asked):
        if self.report == "same":
            time.sleep(0.2)  # after the response to the request
            self._send_report(assoc, asked)
            return
        ae = AE(ae_title=AE_TITLE)
        ae.add_requested_context(StorageCommitmentPushModel)
        roles = [build_role(StorageCommitmentPushModel, scp_role=True)]
        new = ae.associate("127.0.0.1", self.report, ae_title="FRACTUREAI", ext_neg=roles)
        self._send_report(new, asked)
        new.release()

    def _send_report(self, assoc, asked):
        ds = build_report(asked, self.kept)
        with suppress(RuntimeError):  # the node has gone
            event_type = 2 if "FailedSOPSequence" in ds else 1
            assoc.send_n_event_report(ds, event_type, StorageCommitmentPushModel, StorageCommitmentPushModelInstance)


@contextmanager
def rejecting(result, source, reason):
    """Reject every association request (PS3.8 9.3.4); yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:  # closed: that is the end
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(struct.pack(">BxIBBBB", ASSOCIATE_RJ, 4, 0, result, source, reason))
                    connection.recv(65536)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def build_report(asked, kept):
    """Build the truth about a request for storage commitment."""
    ds = Dataset()
    ds.TransactionUID = asked.TransactionUID
    there = [item for item in asked.ReferencedSOPSequence if item.ReferencedSOPInstanceUID in kept]
    lost = [item for item in asked.ReferencedSOPSequence if item.ReferencedSOPInstanceUID not in kept]
    for item in lost:
        item.FailureReason = 0x0112
    if there:
        ds.ReferencedSOPSequence = there
    if lost:
        ds.FailedSOPSequence = lost
    return ds


EXPLICIT_ONLY = [ExplicitVRLittleEndian]


@pytest.fixture
def archive():
    started = []

    def start(**options):
        started.append(ScriptedArchive(**options))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def bench(tmp_path):
    made = []

    def make(port, **options):
        made.append(DeliveryBench(tmp_path, port, **options))
        return made[-1]

    yield make
    for one in made:
        one.store.close()

"""A spool and a store as the receiver leaves them, and data sets written with elements that no writer would write."""

import hashlib
import struct
import time

from builders import build_dx, phantom
from pydicom import dcmread
from pydicom.charset import convert_encodings
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import generate_uid

from dicom_node.header import tolerate
from dicom_node.receive.part10 import encode_file_meta
from dicom_node.result_sets import ResultSets
from dicom_node.settings import DEFAULT_ENCODINGS, NodeSettings
from dicom_node.store import InstanceRole, ReceivedInstance, RevisionState, Store

SYNTAX = "1.2.840.10008.1.2.1"
LONG_VRS = {"OB", "OW", "SQ", "UN", "UT", "UC", "OF", "UR"}


class Bench:
    """The spool and the store as the receiver leaves them, and the results that are made of them."""

    def __init__(self, folder, pipeline):
        self.settings = NodeSettings(ae_title="NODE", data_dir=folder)
        self.store = Store(f"sqlite:///{folder / 'node.sqlite'}")
        self.now = 1767312000.0
        self.results = ResultSets(self.settings, self.store, pipeline, {"archive": DEFAULT_ENCODINGS})

    def receive(self, ds, written=None, *, role=InstanceRole.IMAGE):
        """Keep a data set as it was sent: `written` are its bytes, where they are not simply those of `ds`."""
        path = f"{ds.StudyInstanceUID}/{ds.SOPInstanceUID}.dcm"
        written = written or write(ds)
        head = encode_file_meta(
            sop_class_uid=ds.SOPClassUID,
            sop_instance_uid=ds.SOPInstanceUID,
            transfer_syntax_uid=SYNTAX,
            sender="A",
            receiver="B",
        )
        file = self.settings.spool_dir / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(head + written)
        row = ReceivedInstance(
            sop_instance_uid=ds.SOPInstanceUID,
            study_instance_uid=ds.StudyInstanceUID,
            series_instance_uid=ds.SeriesInstanceUID,
            sop_class_uid=ds.SOPClassUID,
            transfer_syntax_uid=SYNTAX,
            calling_ae_title="A",
            path=path,
            sha256=hashlib.sha256(written).hexdigest(),
            size=len(written),
            role=role,
            received_at=time.time(),
        )
        self.store.add_instances([row])
        return file

    def make(self, study_instance_uid, **how):
        """Close the study, make its results, and read them back in their order: overlays, then the report."""
        with tolerate():
            made = [dcmread(path) for path in self.paths(study_instance_uid, **how)]
        assert all(ds.StudyInstanceUID == study_instance_uid for ds in made)
        return made

    def paths(self, study_instance_uid, **how):
        """Close the study, make its results, and say where they are."""
        self.now += 1
        self.store.close_revision(study_instance_uid, self.now)
        self.results.make(study_instance_uid, self.store.status(1)[0].digest, **how)
        revision = self.store.status(1)[0]
        self.findings = revision.findings
        return [
            self.settings.results_dir / row.path for row in self.store.results_of(study_instance_uid, revision.digest)
        ]


def make_study(folder, pipeline, **attributes):
    """Receive and analyse a study whose results are to go to `archive`; returns its image."""
    bench = Bench(folder, pipeline)
    ds = build_small_dx(StudyInstanceUID=generate_uid(), **attributes)
    bench.now = time.time()
    bench.receive(ds)
    bench.paths(ds.StudyInstanceUID)
    digest = bench.store.status(1)[0].digest
    bench.store.set_revision_state(ds.StudyInstanceUID, digest, RevisionState.DELIVERING)
    bench.store.close()
    return ds


def receive_two_patients(folder, pipeline):
    """Receive a study whose images name two patients, and analyse nothing of it; returns its UID."""
    bench = Bench(folder, pipeline)
    uid = generate_uid()
    for name in ("Roe^Richard", "Doe^Jane"):
        bench.receive(build_small_dx(StudyInstanceUID=uid, PatientName=name))
    bench.store.close()
    return uid


def build_small_dx(**attributes):
    return build_dx(phantom(96, 72), **attributes)


def write(ds, hostile=()):
    """Encode in Explicit VR Little Endian; `hostile` maps a tag to the VR and bytes that take its place."""
    replaced = dict(hostile)
    elements = {elem.tag: encode(ds, elem) for elem in ds if elem.tag not in replaced}
    for tag, (vr, value) in replaced.items():
        length = struct.pack("<HL", 0, len(value)) if vr in LONG_VRS else struct.pack("<H", len(value))
        elements[tag] = struct.pack("<HH", tag.group, tag.element) + vr.encode() + length + value
    return b"".join(elements[tag] for tag in sorted(elements))


def encode(ds, elem):
    alone, file = type(ds)(), DicomBytesIO()
    alone[elem.tag] = elem
    file.is_implicit_VR, file.is_little_endian = False, True
    write_dataset(file, alone, parent_encoding=convert_encodings(ds.SpecificCharacterSet))
    return file.getvalue()


def patient_id_bytes(ds):
    return ds.get_item("PatientID").value.rstrip(b" ")

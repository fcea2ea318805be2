"""Encode the report of a study as an Encapsulated PDF (PS3.3 A.45.1)."""

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian

from dicom_node.encode import provenance
from dicom_node.encode.identification import add_patient_module, add_study_modules
from dicom_node.encode.provenance import Origin
from dicom_node.encode.versions import build_predecessor_documents, describe_version
from dicom_node.identity import DISCLAIMER
from dicom_node.values import ResultKind

_KIND = ResultKind.ENCAPSULATED_PDF


def encode_encapsulated_pdf(origin: Origin, document: bytes) -> Dataset:
    """Encode `document`, a whole PDF file, as the one instance of the revision's report series."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    add_patient_module(ds, origin.header)
    add_study_modules(ds, origin.header, origin.analysis.study.study_instance_uid)
    _add_series(ds, origin)
    provenance.add_equipment(ds, origin)
    _add_encapsulated_document(ds, origin, document)
    _add_sop_common(ds, origin)
    return ds


def _add_series(ds: Dataset, origin: Origin) -> None:
    """Add the Encapsulated Document Series Module (PS3.3 C.24.1)."""
    provenance.add_general_series(ds, origin, _KIND, "Fracture AI report. Research use only")
    ds.Modality = "DOC"


def _add_encapsulated_document(ds: Dataset, origin: Origin, document: bytes) -> None:
    """Add the Encapsulated Document Module (PS3.3 C.24.2)."""
    study = origin.analysis.study
    provenance.add_content_time(ds, origin)
    ds.InstanceNumber = 1
    ds.AcquisitionDateTime = ""  # type 2: the sources were acquired at several times
    ds.BurnedInAnnotation = "YES"  # the pages print name, identifier and birth date
    ds.RecognizableVisualFeatures = "NO"
    ds.SourceInstanceSequence = [provenance.refer_to(instance) for instance in study.instances]
    version = f", {describe_version(study).lower()}" if study.version > 1 else ""
    ds.DocumentTitle = f"Fracture AI report{version}. {DISCLAIMER}"
    ds.ConceptNameCodeSequence = [provenance.build_code(codes.DCM.ImagingMeasurementReport)]
    ds.MIMETypeOfEncapsulatedDocument = "application/pdf"
    ds.EncapsulatedDocument = document + b"\0" * (len(document) % 2)  # OB is padded to even length (PS3.5 6.2)
    ds.EncapsulatedDocumentLength = len(document)
    if predecessors := build_predecessor_documents(study, EncapsulatedPDFStorage, origin.language):
        ds.PredecessorDocumentsSequence = [predecessors]


def _add_sop_common(ds: Dataset, origin: Origin) -> None:
    """Add the SOP Common Module; contributing equipment is every model that spoke on any image."""
    ds.SOPClassUID, ds.SOPInstanceUID = EncapsulatedPDFStorage, origin.derive_uid(_KIND)
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    provenance.add_sop_common(ds, origin, origin.header, provenance.list_spoken(origin))

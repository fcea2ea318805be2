"""Encode a rejection note for superseded results: a Key Object Selection Document (PS3.3 A.35.4, IHE IOCM).

Its title is (113037, DCM, "Rejected for Patient Safety Reasons"). IHE Imaging Object Change Management knows four. A
superseded result is one whose use may harm: somebody reads an answer that a later one has taken the place of. Under
this title an archive stops showing it and keeps it, as medical record-keeping wants for what may have been read.
113001 is for the quality of images, and lets an archive go on showing them; 113038 says that the object was filed under
the wrong patient or order, which is not so; 113039 says that its time of retention is over, and lets it be deleted.
"""

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, KeyObjectSelectionDocumentStorage, SecondaryCaptureImageStorage

from dicom_node.encode import provenance
from dicom_node.encode.identification import add_patient_module, add_study_modules
from dicom_node.encode.provenance import Origin
from dicom_node.encode.versions import describe_version, refer_by_series, refer_to_result
from dicom_node.identity import DISCLAIMER
from dicom_node.values import ResultKind, ResultReference

_KIND = ResultKind.REJECTION_NOTE


def encode_rejection_note(origin: Origin) -> Dataset:
    """Encode the rejection of everything that the origin's study supersedes; each destination gets its part of it."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    add_patient_module(ds, origin.header)
    add_study_modules(ds, origin.header, origin.analysis.study.study_instance_uid)
    _add_series(ds, origin)
    provenance.add_general_equipment(ds, origin)
    _add_key_object_document(ds, origin)
    _add_content(ds, origin)
    ds.SOPClassUID, ds.SOPInstanceUID = KeyObjectSelectionDocumentStorage, origin.derive_uid(_KIND)
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    provenance.add_sop_common(ds, origin, origin.header, ())
    return ds


def _add_series(ds: Dataset, origin: Origin) -> None:
    """Add the Key Object Document Series Module (PS3.3 C.17.6.1)."""
    provenance.add_general_series(ds, origin, _KIND, "Fracture AI rejection note. Research use only")
    ds.Modality = "KO"
    ds.ReferencedPerformedProcedureStepSequence = []


def _add_key_object_document(ds: Dataset, origin: Origin) -> None:
    """Add the Key Object Document Module (PS3.3 C.17.6.2)."""
    ds.InstanceNumber = 1
    provenance.add_content_time(ds, origin)
    study = origin.analysis.study
    ds.CurrentRequestedProcedureEvidenceSequence = [refer_by_series(study, study.supersedes)]


def _add_content(ds: Dataset, origin: Origin) -> None:
    """Add the SR Document Content Module (PS3.3 C.17.3) by the template Key Object Selection (PS3.16 TID 2010)."""
    study = origin.analysis.study
    ds.ValueType, ds.ContinuityOfContent = "CONTAINER", "SEPARATE"
    ds.ConceptNameCodeSequence = [provenance.build_code(codes.DCM.RejectedForPatientSafetyReasons)]
    template = Dataset()
    template.MappingResource, template.TemplateIdentifier = "DCMR", "2010"
    ds.ContentTemplateSequence = [template]
    description = Dataset()
    description.RelationshipType, description.ValueType = "CONTAINS", "TEXT"
    description.ConceptNameCodeSequence = [provenance.build_code(codes.DCM.KeyObjectDescription)]
    description.TextValue = f"Fracture AI results. {describe_version(study)}. {DISCLAIMER}"
    ds.ContentSequence = [description, *(_reject(one) for one in study.supersedes)]


def _reject(result: ResultReference) -> Dataset:
    item = Dataset()
    item.RelationshipType = "CONTAINS"
    item.ValueType = "IMAGE" if result.sop_class_uid == SecondaryCaptureImageStorage else "COMPOSITE"
    item.ReferencedSOPSequence = [refer_to_result(result)]
    return item

"""Encode what was said about a study: an overlay for each analysed radiograph, then the report."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from dicom_node.encode.encapsulated_pdf import encode_encapsulated_pdf
from dicom_node.encode.identification import read_valid
from dicom_node.encode.provenance import Origin
from dicom_node.encode.rejection_note import encode_rejection_note
from dicom_node.encode.report import render_report
from dicom_node.encode.report.pictures import ImagePictures, compress_pictures
from dicom_node.encode.secondary_capture import encode_secondary_capture
from dicom_node.encode.versions import name_version
from dicom_node.header import identifier, tolerate
from dicom_node.identity import DISCLAIMER
from dicom_node.values import Instance, ResultKind, ResultObject, Study, StudyAnalysis
from inference.overlay import render_original, render_overlay
from inference.types import Decision


def encode_study(
    analysis: StudyAnalysis, *, ae_title: str, reject_superseded: bool = False
) -> tuple[ResultObject, ...]:
    """Encode the results of a study: a Secondary Capture for each analysed radiograph, then one Encapsulated PDF.

    With `reject_superseded` a rejection note comes last, where there is something to reject.

    Encoding the same analysis twice gives the same data sets: UIDs are derived, dates and times are the revision's.
    Instances that name different patients under one study get a report for each patient, so that nothing is ever filed
    under another's name.
    """
    with tolerate():
        return tuple(
            result
            for one_patient in _split_by_patient(analysis)
            for result in _encode_patient(one_patient, ae_title, reject_superseded=reject_superseded)
        )


def _encode_patient(analysis: StudyAnalysis, ae_title: str, *, reject_superseded: bool) -> Iterator[ResultObject]:
    origin = Origin(analysis=analysis, ae_title=ae_title, header=analysis.study.instances[0].header)
    analysed = [image for image in analysis.images if image.analysis.decision is not Decision.NOT_ANALYSED]
    longest = 900 if len(analysed) <= 8 else 600
    pictures: dict[str, ImagePictures] = {}
    study = analysis.study
    disclaimer = DISCLAIMER if study.version == 1 else f"{DISCLAIMER} {name_version(study)}."
    for number, image in enumerate(analysed, start=1):
        if image.radiograph is None:
            raise ValueError("an image with a decision has pixels")
        overlay = render_overlay(image.radiograph, image.analysis, disclaimer=disclaimer)
        ds = encode_secondary_capture(origin, image, overlay, number=number)
        pictures[image.instance.sop_instance_uid] = compress_pictures(
            image.radiograph, render_original(image.radiograph), overlay, longest=longest
        )
        source = image.instance.sop_instance_uid
        yield ResultObject(kind=ResultKind.SECONDARY_CAPTURE, ds=ds, source_sop_instance_uid=source)
    document = render_report(origin, pictures)
    yield ResultObject(kind=ResultKind.ENCAPSULATED_PDF, ds=encode_encapsulated_pdf(origin, document))
    if reject_superseded and _answers_again(study, pictures):
        yield ResultObject(kind=ResultKind.REJECTION_NOTE, ds=encode_rejection_note(origin))


def _answers_again(study: Study, pictures: Collection[str]) -> bool:
    """Tell whether there is something to reject, and an answer to each image that was answered before.

    A version that could not analyse what an earlier one did says so, and leaves that one in sight.
    """
    answered = {one.source_sop_instance_uid for one in study.supersedes if one.source_sop_instance_uid}
    return bool(study.supersedes) and answered <= set(pictures)


def _split_by_patient(analysis: StudyAnalysis) -> list[StudyAnalysis]:
    """Split a study whose instances disagree about the patient; what it replaces is known only for the whole."""
    patients = _identify_patients(analysis.study.instances)
    distinct = dict.fromkeys(patients.values())
    if len(distinct) < 2:
        return [analysis]
    return [_keep(analysis, {uid for uid, found in patients.items() if found == patient}) for patient in distinct]


def _keep(analysis: StudyAnalysis, uids: set[str]) -> StudyAnalysis:
    instances = tuple(instance for instance in analysis.study.instances if instance.sop_instance_uid in uids)
    return replace(
        analysis,
        study=replace(analysis.study, instances=instances, supersedes=()),
        images=tuple(image for image in analysis.images if image.instance.sop_instance_uid in uids),
        excluded=tuple(part for part in analysis.excluded if part.instance.sop_instance_uid in uids),
    )


def _identify_patients(instances: Iterable[Instance]) -> dict[str, tuple[str | bytes, str]]:
    """Return PatientID and issuer by SOP Instance UID; an issuer that is left out is the one given elsewhere."""
    issuers: dict[str | bytes, str] = {}
    given = {}
    for instance in instances:
        patient_id, issuer = identifier(instance.header, "PatientID"), read_valid(instance.header, "IssuerOfPatientID")
        given[instance.sop_instance_uid] = patient_id, issuer
        issuers[patient_id] = issuers.get(patient_id) or issuer
    return {uid: (patient_id, issuer or issuers[patient_id]) for uid, (patient_id, issuer) in given.items()}

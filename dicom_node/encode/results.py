"""Encode what was said about a study, in every form that a destination wants."""

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from pydicom import Dataset

from dicom_node.encode.encapsulated_pdf import encode_encapsulated_pdf
from dicom_node.encode.identification import read_valid
from dicom_node.encode.key_objects import encode_key_objects
from dicom_node.encode.lettering import set_text
from dicom_node.encode.presentation_state import encode_presentation_state
from dicom_node.encode.provenance import Origin
from dicom_node.encode.rejection_note import encode_rejection_note
from dicom_node.encode.report import render_report
from dicom_node.encode.report.pictures import ImagePictures, compress_pictures
from dicom_node.encode.report.wording import list_analysed
from dicom_node.encode.secondary_capture import encode_secondary_capture
from dicom_node.encode.structured_report import encode_structured_report
from dicom_node.encode.summary import render_summary
from dicom_node.encode.summary_capture import NUMBER, encode_summary
from dicom_node.encode.versions import name_version
from dicom_node.errors import describe_unforeseen
from dicom_node.header import identifier, tolerate
from dicom_node.identity import DISCLAIMER
from dicom_node.languages import ENGLISH, LanguageCode, load_language
from dicom_node.settings import DEFAULT_ENCODINGS, Encoding
from dicom_node.values import Instance, ResultKind, ResultObject, StudyAnalysis
from inference.overlay import render_overlay

_LOGGER = logging.getLogger(__name__)


Kept = TypeVar("Kept")


def encode_study(analysis: StudyAnalysis, **options: Any) -> tuple[ResultObject, ...]:
    """Encode the results of a study, as `encode_and_keep` does, and return all of them."""
    return tuple(encode_and_keep(analysis, lambda result: result, **options))


def encode_and_keep(
    analysis: StudyAnalysis,
    keep: Callable[[ResultObject], Kept],
    *,
    ae_title: str,
    encodings: Collection[Encoding] = DEFAULT_ENCODINGS,
    languages: Sequence[LanguageCode] = (ENGLISH.code,),
    reject_superseded: bool = False,
) -> list[Kept]:
    """Encode the results of a study, and have each kept as soon as it is encoded: together they may be large.

    Returned is what `keep` returned, in the order in which they are to be sent: as far as `encodings` has them, for
    each of `languages` the summary and an overlay for each analysed radiograph, Secondary Captures of one series, which
    there are always, and the report; then structured report, presentation states, key objects, which are in no
    language. With `reject_superseded` a rejection note comes last, where there is something to reject.

    Encoding the same analysis twice gives the same data sets: UIDs are derived, dates and times are the revision's.
    Instances that name different patients under one study get a report for each patient, so that nothing is ever filed
    under another's name.
    """
    with tolerate():
        kept: list[Kept] = []
        for one_patient in _split_by_patient(analysis):
            origin = Origin(
                analysis=one_patient,
                ae_title=ae_title,
                header=one_patient.study.instances[0].header,
                is_part=one_patient is not analysis,
            )
            for language in languages:
                kept += _encode_words(replace(origin, language=load_language(language)), encodings, keep)
            kept += map(keep, _encode_marks(origin, encodings))
            if reject_superseded and _answers_again(one_patient):
                kept.append(keep(ResultObject(kind=ResultKind.REJECTION_NOTE, ds=encode_rejection_note(origin))))
        return kept


def _encode_words(
    origin: Origin, encodings: Collection[Encoding], keep: Callable[[ResultObject], Kept]
) -> Iterator[Kept]:
    """Encode what people read, in one language; the summary shows the overlays, and so is encoded after them."""
    code = origin.language.code
    pictures: dict[str, ImagePictures] = {}
    captures = [keep(replace(capture, language=code)) for capture in _encode_captures(origin, pictures)]
    summary = encode_summary(origin, render_summary(origin, pictures))
    yield keep(ResultObject(kind=ResultKind.SUMMARY, ds=summary, language=code))
    yield from captures
    if Encoding.REPORT in encodings:
        document = encode_encapsulated_pdf(origin, render_report(origin, pictures))
        yield keep(ResultObject(kind=ResultKind.ENCAPSULATED_PDF, ds=document, language=code))


def _encode_marks(origin: Origin, encodings: Collection[Encoding]) -> Iterator[ResultObject]:
    """Encode what is in no language."""
    for encoding, encode in _FURTHER.items():
        if encoding in encodings:
            yield from encode(origin)


def _try_to_encode(
    encode: Callable[..., Dataset | None], origin: Origin, kind: ResultKind, source: str = "", **options: Any
) -> Iterator[ResultObject]:
    """Encode one further object; where a header makes that impossible, the others are there all the same."""
    try:
        ds = encode(origin, **options)
    except Exception as error:  # noqa: BLE001  # the answer itself must not be lost with a further form of it
        uid = origin.analysis.study.study_instance_uid
        _LOGGER.error("study %s, %s: %s", uid, kind, describe_unforeseen(error))  # noqa: TRY400  # no texts of exceptions in logs
        return
    if ds is not None:
        yield ResultObject(kind=kind, ds=ds, source_sop_instance_uid=source)


def _encode_structured_report(origin: Origin) -> Iterator[ResultObject]:
    return _try_to_encode(encode_structured_report, origin, ResultKind.STRUCTURED_REPORT)


def _encode_presentation_states(origin: Origin) -> Iterator[ResultObject]:
    for number, image in enumerate(list_analysed(origin.analysis), start=1):
        source = image.instance.sop_instance_uid
        kind = ResultKind.PRESENTATION_STATE
        yield from _try_to_encode(encode_presentation_state, origin, kind, source, image=image, number=number)


def _encode_key_objects(origin: Origin) -> Iterator[ResultObject]:
    return _try_to_encode(encode_key_objects, origin, ResultKind.KEY_OBJECTS)


_FURTHER = {
    Encoding.STRUCTURED_REPORT: _encode_structured_report,
    Encoding.PRESENTATION_STATE: _encode_presentation_states,
    Encoding.KEY_OBJECTS: _encode_key_objects,
}


def _encode_captures(origin: Origin, pictures: dict[str, ImagePictures]) -> Iterator[ResultObject]:
    """Encode the overlays, and put what summary and report show of them into `pictures`, by SOP Instance UID."""
    study, language = origin.analysis.study, origin.language
    analysed = list_analysed(origin.analysis)
    longest = 900 if len(analysed) <= 8 else 600
    disclaimer = language.say(DISCLAIMER)
    if study.version > 1:
        disclaimer += " " + language.say("{text}.", text=name_version(study, language))
    for number, image in enumerate(analysed, start=NUMBER + 1):
        if image.shown is None:
            raise ValueError("an image with a decision has pixels")
        overlay = render_overlay(image.shown, image.analysis, disclaimer=disclaimer, voice=language, set_text=set_text)
        ds = encode_secondary_capture(origin, image, overlay, number=number)
        source = image.instance.sop_instance_uid
        pictures[source] = compress_pictures(image.shown, overlay, longest=longest)
        yield ResultObject(kind=ResultKind.SECONDARY_CAPTURE, ds=ds, source_sop_instance_uid=source)


def _answers_again(analysis: StudyAnalysis) -> bool:
    """Tell whether there is something to reject, and an answer to each image that was answered before.

    A version that could not analyse what an earlier one did says so, and leaves that one in sight.
    """
    superseded = analysis.study.supersedes
    answered = {one.source_sop_instance_uid for one in superseded if one.source_sop_instance_uid}
    now = {image.instance.sop_instance_uid for image in list_analysed(analysis)}
    return bool(superseded) and answered <= now


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

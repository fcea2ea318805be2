"""One image in, one answer out: record, annotated picture, report."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dicom_node.analyse.analysis import RadiographPipeline, analyse_study
from dicom_node.analyse.picture import SkippedFile, read_images
from dicom_node.analyse.pixels import load_radiograph
from dicom_node.assemble.selection import select_radiographs
from dicom_node.assemble.study import read_instance
from dicom_node.encode.results import encode_study
from dicom_node.errors import StudyError, UndecodableImageError
from dicom_node.header import tolerate
from dicom_node.languages import LanguageCode, load_language
from dicom_node.operate.annotated import draw_answer
from dicom_node.operate.pictures import unwrap_report
from dicom_node.operate.record import to_record
from dicom_node.settings import HeaderPolicy
from dicom_node.store import revision_digest
from dicom_node.values import ResultKind, Study, StudyAnalysis
from inference.overlay import show
from inference.types import Decision, RadiographAnalysis, ShownRadiograph


def answer_image(
    path: Path,
    into: Path,
    pipeline: RadiographPipeline,
    *,
    ae_title: str,
    policy: HeaderPolicy = HeaderPolicy.TRUST_PIXELS,
    language: LanguageCode = "en",
) -> tuple[dict[str, Any], bytes, bytes]:
    """Answer one DICOM, PNG or JPEG file; a picture is wrapped as CR below the folder `into`.

    Returns
    -------
    record
        Plain values, see `to_record`.
    picture
        PNG: the image with what was said drawn onto it, square pixels.
    report
        PDF.

    Raises
    ------
    UndecodableImageError
        It is no image, or one that cannot be decoded.
    """
    (file,) = read_images([path], into=into)
    if isinstance(file, SkippedFile):
        raise UndecodableImageError(file.reason.removesuffix("."))
    with tolerate():
        analysis = _analyse(file.path, pipeline, policy)
        said, radiograph = _find_answer(analysis, file.path)
        results = encode_study(analysis, ae_title=ae_title, languages=(language,))
    report = next(one.ds for one in results if one.kind is ResultKind.ENCAPSULATED_PDF)
    picture = draw_answer(radiograph, said, load_language(language))
    return to_record(path, said), picture, unwrap_report(report)


def _analyse(path: Path, pipeline: RadiographPipeline, policy: HeaderPolicy) -> StudyAnalysis:
    instance = read_instance(path)
    study = Study(
        study_instance_uid=str(instance.header.StudyInstanceUID),
        revision=revision_digest([instance.sop_instance_uid]),
        version=1,
        created_at=datetime.now(UTC),
        instances=(instance,),
    )
    return analyse_study(study, select_radiographs(study), pipeline, policy=policy)


def _find_answer(analysis: StudyAnalysis, path: Path) -> tuple[RadiographAnalysis, ShownRadiograph]:
    """Return what was said, and the pixels; those of an image that was left out are decoded to be shown."""
    for image in analysis.images:
        if image.shown is None:
            raise UndecodableImageError(image.analysis.reason.removesuffix("."))
        return image.analysis, image.shown
    (left_out,) = analysis.excluded
    try:
        radiograph = load_radiograph(path)
    except StudyError as error:
        raise UndecodableImageError(f"{left_out.reason} {str(error).capitalize()}") from None
    return RadiographAnalysis(decision=Decision.NOT_ANALYSED, reason=left_out.reason), show(radiograph)

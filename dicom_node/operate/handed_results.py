"""The result objects of files that a person hands over: made where the models are."""

from collections.abc import Sequence
from pathlib import Path

from dicom_node.analyse.analysis import Decode, RadiographPipeline, analyse_study
from dicom_node.analyse.pixels import load_radiograph
from dicom_node.assemble.rules import choose_rule
from dicom_node.assemble.selection import select_radiographs
from dicom_node.deliver import FURTHER_FORMS
from dicom_node.encode.results import encode_study
from dicom_node.header import tolerate
from dicom_node.operate.handed_files import read_handed_study
from dicom_node.settings import Destination, Settings

MadeFile = tuple[str, str, str, bool]
"""Of a result: SOP Instance UID, SOP Class UID, name of its file, whether it is a further form of the answer."""


def make_handed_results(
    paths: Sequence[Path],
    into: Path,
    pipeline: RadiographPipeline,
    settings: Settings,
    destination: Destination,
    *,
    decode: Decode = load_radiograph,
) -> tuple[list[str], list[MadeFile]]:
    """Analyse the files of one study that were admitted, and write its results into a folder, as one destination wants.

    Their language is that of the rule for the study, where it has one. Returned is what was said of each image, and the
    result files.
    """
    into.mkdir(parents=True, exist_ok=True)
    with tolerate():
        study = read_handed_study(paths)
        rule = choose_rule(settings.rules, study)
        language = (rule.language if rule else "") or destination.language or settings.results.language
        analysis = analyse_study(
            study,
            select_radiographs(study),
            pipeline,
            decode=decode,
            policy=settings.models.when_header_disagrees,
            settings=settings.analysis,
        )
        made = encode_study(
            analysis,
            ae_title=settings.node.ae_title,
            encodings=destination.results,
            languages=(language,),
        )
        files = []
        for result in made:
            name = f"{result.ds.SOPInstanceUID}.dcm"
            result.ds.save_as(into / name, enforce_file_format=True)
            uids = str(result.ds.SOPInstanceUID), str(result.ds.SOPClassUID)
            files.append((*uids, name, result.kind in FURTHER_FORMS))
    decisions = [str(image.analysis.decision) for image in analysis.images]
    return decisions + ["not analysed"] * len(analysis.excluded), files

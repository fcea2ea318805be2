"""Results of `dicom-node analyse` on disk: DICOM objects, and picture and report as plain PNG and PDF."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path

from dicom_node.analyse.analysis import Decode
from dicom_node.encode.results import encode_and_keep
from dicom_node.errors import StudyError, is_uid
from dicom_node.identity import derive_uid, is_result_uid
from dicom_node.languages import LanguageCode, load_language
from dicom_node.operate.annotated import draw_answer
from dicom_node.operate.pictures import unwrap_report
from dicom_node.values import Instance, ResultKind, ResultObject, StudyAnalysis
from inference.overlay import show
from inference.types import RadiographAnalysis, ShownRadiograph


def name_folder(study_instance_uid: str) -> str:
    """Name the folder of a study: its UID, where that is one that names no other place."""
    is_plain = is_uid(study_instance_uid) and study_instance_uid.strip(".") == study_instance_uid
    return study_instance_uid if is_plain else derive_uid("folder", study_instance_uid)


def is_own(path: Path, out: Path) -> bool:
    """Tell whether a file is one that was written here: what was drawn on is no radiograph."""
    folder = path.resolve().parent
    if folder.parent != out.resolve() or folder.name != name_folder(folder.name):
        return False
    return path.suffix == ".png" or (path.suffix == ".dcm" and is_result_uid(path.stem))


def write_results(analysis: StudyAnalysis, folder: Path, *, ae_title: str, language: LanguageCode) -> None:
    """Write the result objects, and each report as plain PDF as well."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = count(1)

    def keep(result: ResultObject) -> None:
        result.ds.save_as(folder / f"{result.ds.SOPInstanceUID}.dcm", enforce_file_format=True)
        if result.kind is ResultKind.ENCAPSULATED_PDF:
            number = next(numbers)
            name = "report.pdf" if number == 1 else f"report-{number}.pdf"
            (folder / name).write_bytes(unwrap_report(result.ds))

    encode_and_keep(analysis, keep, ae_title=ae_title, languages=(language,))


def write_pictures(
    members: Sequence[tuple[Path, Instance]],
    analysis: StudyAnalysis,
    said: Mapping[Path, RadiographAnalysis],
    folder: Path,
    *,
    decode: Decode,
    language: LanguageCode,
) -> None:
    """Write each image with what was said of it as PNG under the name of its file; none where it has no picture."""
    voice = load_language(language)
    decoded = {image.instance.path: image.shown for image in analysis.images}
    taken: set[str] = set()
    for source, instance in members:
        radiograph = decoded[instance.path] if instance.path in decoded else _decode_left_out(instance.path, decode)
        if radiograph is None:
            continue
        name = next(one for one in _names(source.stem) if one not in taken)
        taken.add(name)
        (folder / name).write_bytes(draw_answer(radiograph, said[instance.path], voice))


def _decode_left_out(path: Path, decode: Decode) -> ShownRadiograph | None:
    try:
        return show(decode(path))
    except StudyError:
        return None


def _names(stem: str) -> Iterator[str]:
    yield f"{stem}.png"
    yield from (f"{stem}-{number}.png" for number in count(2))

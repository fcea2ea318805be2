"""Answers to uploaded images. Whatever they hold, they meet decoders and models in a process of their own.

What is uploaded is kept only while it is worked on, in a folder of its own in the node's data folder. Nothing is sent
anywhere but to the destination that somebody names.
"""

import base64
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from dicom_node.analyse.cage import Cage
from dicom_node.deliver import ResultFile
from dicom_node.errors import NodeError
from dicom_node.operate.handed_files import Sent, admit_files, find_destination, send_handed_results
from dicom_node.settings import Destination, Settings
from dicom_node.store import Store
from dicom_node.web.uploads import UploadedFile, laid_down
from inference.phrases import Phrase

_WAITING = 4
"""Uploads that are worked on or wait for their turn; further ones are refused, so that pages never wait for them."""
_MODELS_MB = 2000
"""What models and pictures may take beyond what decoding may."""


class BusyError(NodeError):
    """So many uploads wait that this one is not taken."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the models say of one uploaded image."""

    record: dict[str, Any]
    """As `dicom-node analyse --json` prints it; `path` is the name that the file was uploaded under."""
    picture: bytes
    """The image with heat map, boxes and legend: PNG."""
    report: bytes
    """PDF."""

    @property
    def prediction(self) -> str:
        """`fracture`, `no fracture`, `uncertain` or `not analysed`."""
        return str(self.record["decision"])

    @property
    def confidence(self) -> str | None:
        """Probability of what is predicted as a percentage: of a fracture, or of none; None where no model spoke."""
        said: str | None = self.record["confidence"]
        return said

    @property
    def picture_base64(self) -> str:
        """The picture as text."""
        return base64.b64encode(self.picture).decode()

    @property
    def report_base64(self) -> str:
        """The report as text."""
        return base64.b64encode(self.report).decode()


class Predictions:
    """The process that answers; it is started when it is first needed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(_WAITING)
        self._cage: Cage | None = None

    def warm_up(self) -> None:
        """Start the process, so that its models are there when they are needed."""
        self._ready_cage()

    def answer(self, files: Sequence[UploadedFile]) -> list[Answer | NodeError]:
        """Answer each file; where it is no image, or costs the process its life, the error says so.

        Raises
        ------
        BusyError
            Too many wait already.
        ChildProcessError
            The process cannot be started, or its models cannot be loaded.
        """
        with self._place():
            return [self._answer(file) for file in files]

    def send(self, files: Sequence[UploadedFile], destination: str, store: Store) -> Sent:
        """Analyse the files of one study, and send its results to one destination.

        Raises
        ------
        HandedFileError
            Nothing was sent, because of what the files are.
        StudyError
            Nothing was sent, because the process was lost over it.
        BusyError, ChildProcessError
            As of `answer`.
        """
        to = find_destination(self._settings, destination)
        with self._place(), laid_down(files, self._settings.node.uploads_dir) as paths:
            names = {path: file.name for path, file in zip(paths, files, strict=True)}
            uid = admit_files(names, self._settings, store, to)
            into = paths[0].parent / "results"
            decisions, made = self._ready_cage().call(_make_results, paths, into, self._settings, to)
            results = [
                ResultFile(sop_instance_uid=instance, sop_class_uid=kind, path=into / name, may_be_left_out=further)
                for instance, kind, name, further in made
            ]
            return send_handed_results(uid, decisions, results, self._settings, to)

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._places.acquire(blocking=False):
            raise BusyError(Phrase("other uploads are being worked on; try again in a few seconds"))
        try:
            yield
        finally:
            self._places.release()

    def close(self) -> None:
        """End the process."""
        with self._lock:
            if self._cage is not None:
                self._cage.close()

    def _answer(self, file: UploadedFile) -> Answer | NodeError:
        with laid_down([file], self._settings.node.uploads_dir) as (path,):
            try:
                record, picture, report = self._ready_cage().call(
                    _answer_file, path, path.parent / "wrapped", self._settings
                )
            except NodeError as error:
                return error
        return Answer(record={**record, "path": file.name}, picture=picture, report=report)

    def _ready_cage(self) -> Cage:
        analysis, models = self._settings.analysis, self._settings.models
        with self._lock:
            if self._cage is None:
                self._cage = Cage(
                    "the process for uploads",
                    partial(_prepare, models.bundles, runtime=models.runtime, threads=models.threads),
                    limit_s=analysis.decode_limit_s + analysis.models_limit_s,
                    memory_mb=analysis.decode_memory_mb + _MODELS_MB,
                )
            return self._cage


def _prepare(bundles: Path, *, runtime: str, threads: int) -> object:
    # Imported in the child alone: this process has neither decoders nor models.
    from dicom_node.operate import handed_results, single_image  # noqa: PLC0415
    from inference.pipeline import Pipeline  # noqa: PLC0415

    return single_image, handed_results, Pipeline.load(bundles, runtime=runtime, threads=threads)


def _answer_file(prepared: Any, path: Path, into: Path, settings: Settings) -> tuple[dict[str, Any], bytes, bytes]:
    single_image, _, pipeline = prepared
    answer: tuple[dict[str, Any], bytes, bytes] = single_image.answer_image(
        path,
        into,
        pipeline,
        ae_title=settings.node.ae_title,
        policy=settings.models.when_header_disagrees,
        language=settings.results.language,
    )
    return answer


def _make_results(
    prepared: Any, paths: Sequence[Path], into: Path, settings: Settings, destination: Destination
) -> tuple[list[str], list[tuple[str, str, str, bool]]]:
    _, handed_results, pipeline = prepared
    made: tuple[list[str], list[tuple[str, str, str, bool]]] = handed_results.make_handed_results(
        paths, into, pipeline, settings, destination
    )
    return made

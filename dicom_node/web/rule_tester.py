"""What the rules make of uploaded files: their headers are read in a process of its own, and nothing is kept."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dicom_node.analyse.cage import Cage
from dicom_node.errors import NodeError, StudyError
from dicom_node.operate.rules import judge_files
from dicom_node.settings import Rule, Settings
from dicom_node.web.uploads import UploadedFile, laid_down


@dataclass(frozen=True, kw_only=True)
class TestedRule:
    """What one rule comes to for a study."""

    rule: Rule
    outcome: str
    because: str
    """Quotes the headers: patient data."""


@dataclass(frozen=True, kw_only=True)
class TestedStudy:
    """What the rules come to for one study, as `dicom-node rules test` says it."""

    study_instance_uid: str
    files: int
    says: str
    rules: tuple[TestedRule, ...]


class RuleTester:
    """The process that reads the headers; it is started when it is first needed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._cage: Cage | None = None

    def test(self, files: Sequence[UploadedFile]) -> list[TestedStudy]:
        """Say what the rules make of the studies that these files belong to.

        Raises
        ------
        StudyError
            One of them is no DICOM file that names its study, or costs the process its life; the message names it.
        ChildProcessError
            The process cannot be started.
        """
        rules = self._settings.rules
        with laid_down(files, self._settings.node.uploads_dir) as paths:
            problem, said = self._ready_cage().call(_judge_files, rules, paths)
            for path, file in zip(paths, files, strict=True):
                problem = problem.replace(f"{path}:", f"{file.name}:")
        if problem:
            raise StudyError(problem)
        return [
            TestedStudy(
                study_instance_uid=uid,
                files=count,
                says=says,
                rules=tuple(
                    TestedRule(rule=rule, outcome=outcome, because=because)
                    for rule, (outcome, because) in zip(rules, judged, strict=True)
                ),
            )
            for uid, count, says, judged in said
        ]

    def close(self) -> None:
        """End the process."""
        with self._lock:
            if self._cage is not None:
                self._cage.close()

    def _ready_cage(self) -> Cage:
        analysis = self._settings.analysis
        with self._lock:
            if self._cage is None:
                limits = {"limit_s": analysis.decode_limit_s, "memory_mb": analysis.decode_memory_mb}
                self._cage = Cage("the process for headers", _prepare, **limits)
            return self._cage


def _prepare() -> None:
    """Do nothing more: to find this function, the child has imported what it needs."""


def _judge_files(
    _prepared: object, rules: Sequence[Rule], paths: Sequence[Path]
) -> tuple[str, list[tuple[str, int, str, list[tuple[str, str]]]]]:
    """Judge in the child, which answers with plain values alone: what is wrong with a file, or what the rules say."""
    try:
        verdicts = judge_files(rules, paths)
    except NodeError as error:
        return str(error), []
    return "", [
        (one.study_instance_uid, one.images, one.says, [(str(rule.outcome), rule.because) for rule in one.judgements])
        for one in verdicts
    ]

"""`dicom-node rules`: what they say, which decides about the studies of some files, and why the others do not."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from dicom_node.assemble.rules import Judgement, Outcome, describe_condition, judge_rules
from dicom_node.assemble.study import read_instance, reading_order
from dicom_node.errors import NodeError
from dicom_node.header import texts, tolerate
from dicom_node.operate.terminal import print_entry
from dicom_node.settings import ROUTINE, Action, Rule, Settings
from dicom_node.store import revision_digest
from dicom_node.values import Instance, Study
from inference.phrases import Phrase

_MARKS = {
    Outcome.DECIDES: ("decides", "green"),
    Outcome.TOO_LATE: ("too late", "yellow"),
    Outcome.DOES_NOT_HOLD: ("no", ""),
}


@dataclass(frozen=True, kw_only=True)
class StudyVerdict:
    """What the rules make of one study."""

    study_instance_uid: str
    images: int
    says: str
    """What would become of it, in a sentence without patient data."""
    judgements: tuple[Judgement, ...]
    """One for each rule, in their order; their reasons may quote patient data."""


def judge_files(rules: Sequence[Rule], paths: Iterable[Path], *, show_values: bool = True) -> list[StudyVerdict]:
    """Say what the rules make of the studies that these DICOM files belong to; folders are searched.

    Raises
    ------
    NodeError
        One of the files is no DICOM file, or names no study.
    """
    studies: dict[str, list[Instance]] = {}
    files = [file for path in paths for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    with tolerate():
        for file in files:
            if file.is_file():
                study_instance_uid, instance = _read(file)
                studies.setdefault(study_instance_uid, []).append(instance)
        return [_judge(rules, uid, members, show_values=show_values) for uid, members in studies.items()]


def describe_rule(rule: Rule | None) -> str:
    """Say what becomes of a study that a rule decides about; None: no rule does."""
    if rule is None:
        return Phrase("analysed: no rule holds")
    if rule.action is Action.EXCLUDE and rule.say:
        return Phrase("not analysed by rule '{rule}'; a report says so", rule=rule.name)
    if rule.action is Action.EXCLUDE:
        return Phrase("not analysed by rule '{rule}'; nothing is sent; `dicom-node status` shows it", rule=rule.name)
    said = Phrase("analysed by rule '{rule}'", rule=rule.name)
    if rule.priority != ROUTINE:
        said = Phrase("{analysed}, priority {priority}", analysed=said, priority=rule.priority)
    if rule.destinations:
        said = Phrase("{analysed}, results to {destinations}", analysed=said, destinations=", ".join(rule.destinations))
    return said


def describe_conditions(rule: Rule) -> list[str]:
    """Write each condition of a rule as a sentence would have it."""
    return [describe_condition(condition) for condition in rule.when]


def show_rules(settings: Settings) -> None:
    """Print the rules in their order: where each holds, and what becomes of a study then."""
    console = Console(highlight=False)
    if not settings.rules:
        said = "the configuration has no [[rules]]: every study is analysed, and its results go to every destination"
        console.print(said, markup=False)
        return
    for number, rule in enumerate(settings.rules, start=1):
        conditions = [f"  {condition}" for condition in describe_conditions(rule)]
        where = f"holds where, on {rule.images} image of the study:" if conditions else "holds always"
        lines = [rule.name, where, *conditions, f"then {describe_rule(rule)}"]
        print_entry(console, f"{number}.", lines, style="bold", column=5)
    console.print("the first rule that holds decides; where none holds, the study is analysed")


def show_judgements(settings: Settings, paths: Iterable[Path]) -> None:
    """Print what the rules make of some files."""
    console = Console(highlight=False)
    for verdict in judge_files(settings.rules, paths):
        images = "1 file" if verdict.images == 1 else f"{verdict.images} files"
        print_entry(
            console, "study", [verdict.study_instance_uid, f"{images}; {verdict.says}"], style="bold", column=10
        )
        for number, judgement in enumerate(verdict.judgements, start=1):
            mark, style = _MARKS[judgement.outcome]
            lines = [f"{number}. {judgement.rule.name}", judgement.because]
            print_entry(console, mark, lines, style=style, column=10)
    if not settings.rules:
        console.print("the configuration has no [[rules]]: every study is analysed", markup=False)


def _read(file: Path) -> tuple[str, Instance]:
    instance = read_instance(file)
    uids = [next(iter(texts(instance.header, keyword)), "") for keyword in ("StudyInstanceUID", "SOPInstanceUID")]
    if not all(uids):
        raise NodeError(f"{file}: is no DICOM file that names its study and itself")
    return uids[0], instance


def _judge(rules: Sequence[Rule], uid: str, members: Sequence[Instance], *, show_values: bool) -> StudyVerdict:
    study = Study(
        study_instance_uid=uid,
        revision=revision_digest(instance.sop_instance_uid for instance in members),
        version=1,
        created_at=datetime.now(UTC),
        instances=tuple(sorted(members, key=reading_order)),
    )
    judgements = judge_rules(rules, study, show_values=show_values)
    chosen = next((one.rule for one in judgements if one.outcome is Outcome.DECIDES), None)
    return StudyVerdict(study_instance_uid=uid, images=len(members), says=describe_rule(chosen), judgements=judgements)

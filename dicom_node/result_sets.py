"""From a revision in the store to its result objects on disk: the line from assemble to encode, in one place."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path

from pydicom import Dataset, dcmwrite

from dicom_node.analyse.analysis import Decode, RadiographPipeline, analyse_study
from dicom_node.analyse.pixels import load_radiograph
from dicom_node.assemble.reduction import reduce_study
from dicom_node.assemble.rules import choose_rule
from dicom_node.assemble.selection import exclude_all, select_radiographs
from dicom_node.assemble.study import read_study
from dicom_node.audit import AuditEvent, AuditTrail
from dicom_node.durable import write_durably
from dicom_node.encode.results import encode_and_keep
from dicom_node.encode.sop_classes import list_kinds
from dicom_node.errors import describe_unforeseen
from dicom_node.header import tolerate
from dicom_node.languages import ENGLISH, LanguageCode
from dicom_node.settings import ROUTINE, Action, AnalysisSettings, Encoding, HeaderPolicy, NodeSettings, Rule
from dicom_node.statistics.recording import measure
from dicom_node.store import Finding, Profile, Store, StoredResult
from dicom_node.values import ExcludedInstance, ResultKind, ResultObject, ResultReference, Study, StudyAnalysis
from inference.phrases import Phrase

_DEFAULTS = AnalysisSettings()
_LOGGER = logging.getLogger(__name__)

UNFORESEEN = Phrase("The node could not process this study: an unforeseen fault, which its log describes.")
CRASHED = Phrase("The node stopped each time it worked on this study, so its images are not opened again.")


class ResultSets:
    """Makes the result set of a revision: the same objects with the same UIDs however often it is asked."""

    def __init__(
        self,
        node: NodeSettings,
        store: Store,
        pipeline: RadiographPipeline,
        profiles: Mapping[str, Collection[Encoding]],
        *,
        languages: Mapping[str, LanguageCode] | None = None,
        policy: HeaderPolicy = HeaderPolicy.TRUST_PIXELS,
        decode: Decode = load_radiograph,
        analysis: AnalysisSettings = _DEFAULTS,
        reject_superseded: bool = False,
        rules: tuple[Rule, ...] = (),
    ) -> None:
        """`profiles` has the forms of the results that each destination gets, by its name.

        `languages` has the language of each; where it says none, English.
        """
        self._node = node
        self._trail = AuditTrail(node.audit_dir, node.ae_title)
        self._store = store
        self._pipeline = pipeline
        self._encodings = frozenset(encoding for wanted in profiles.values() for encoding in wanted)
        spoken = languages or {}
        self._profiles = {
            name: Profile(kinds=list_kinds(wanted), language=spoken.get(name, ENGLISH.code))
            for name, wanted in profiles.items()
        }
        self._policy = policy
        self._decode = decode
        self._analysis = analysis
        self._reject_superseded = reject_superseded
        self._rules = rules

    def find_priority(self, study_instance_uid: str, digest: str) -> int:
        """Return the priority of a revision by the rules, 1 for what is analysed first."""
        if not self._rules:
            return ROUTINE
        with tolerate():
            revision = self._store.revision(study_instance_uid, digest)
            rule = self._choose_rule(read_study(revision, self._node.spool_dir, check_files=False))
        return ROUTINE if rule is None else rule.priority

    def make(self, study_instance_uid: str, digest: str, *, cautious: bool = False) -> Rule | None:
        """Analyse a revision; write its result objects durably, then record them.

        Returned is the rule by which it gets no results at all; else None.

        Results that are recorded already stay as they are, whatever models are loaded now. A study that cannot be
        processed gets a report that says "not analysed" of every image; a cautious node gives it that report at once,
        because earlier attempts took the process down. Raises where not even the report can be made.
        """
        if self._store.results_of(study_instance_uid, digest):
            return None
        revision = self._store.revision(study_instance_uid, digest)
        with tolerate():
            study = self._place(read_study(revision, self._node.spool_dir))
            rule = self._choose_rule(study)
            left_out = describe_exclusion(rule) if rule is not None and rule.action is Action.EXCLUDE else ""
            if rule is not None and left_out and not rule.say:
                analysis = self._leave_out(study, left_out)
                said, kept = list_findings(analysis), measure(analysis)
                self._store.add_results(study_instance_uid, digest, [], said, (), measured=kept)
                return rule
            profiles = self._choose_profiles(rule)
            languages = tuple(dict.fromkeys(profile.language for profile in profiles.values()))
            if cautious:
                rows, analysis = self._give_up(study, left_out or CRASHED, languages)
            else:
                rows, analysis = self._answer(study, left_out, languages)
        said, kept = list_findings(analysis), measure(analysis)
        self._store.add_results(study_instance_uid, digest, rows, said, [*profiles], wanted=profiles, measured=kept)
        return None

    def _choose_profiles(self, rule: Rule | None) -> dict[str, Profile]:
        """Say which destinations get what, by the rule for the study."""
        if rule is None:
            return self._profiles
        chosen = {name: self._profiles[name] for name in rule.destinations or self._profiles}
        if not rule.language:
            return chosen
        return {name: replace(profile, language=rule.language) for name, profile in chosen.items()}

    def _choose_rule(self, study: Study) -> Rule | None:
        """Choose the rule for a study; where that fails, it is analysed as if there were none: visibly."""
        try:
            return choose_rule(self._rules, study)
        except Exception as error:  # noqa: BLE001 - the edge to foreign headers: what they say must silence nothing
            uid = study.study_instance_uid
            _LOGGER.error("no rule can be applied to study %s: %s", uid, describe_unforeseen(error))  # noqa: TRY400 - no texts of exceptions in logs
            return None

    def _leave_out(self, study: Study, reason: str) -> StudyAnalysis:
        """Note what a rule leaves out, for whoever looks at the node; no archive hears of it."""
        excluded = tuple(ExcludedInstance(instance=one, reason=reason) for one in study.instances)
        analysis = StudyAnalysis(study=study, images=(), excluded=excluded, models=())
        self._note(analysis, list_findings(analysis))
        return analysis

    def _answer(
        self, study: Study, left_out: str, languages: Sequence[LanguageCode]
    ) -> tuple[list[StoredResult], StudyAnalysis]:
        """Analyse and encode; with `left_out`, the reason, encode a report that says that nothing was analysed."""
        try:
            selection = select_radiographs(study)
            if left_out:
                selection = exclude_all(selection, left_out)
            analysis = analyse_study(
                study,
                selection,
                self._pipeline,
                decode=self._decode,
                policy=self._policy,
                settings=self._analysis,
            )
            return self._encode(analysis, languages)
        except Exception as error:
            if isinstance(error, OSError) and error.errno is not None:  # pydicom's own have no number
                raise  # a full or broken disk, no process to be had: nothing can be made now, all of it later
            _LOGGER.error("study %s cannot be processed: %s", study.study_instance_uid, describe_unforeseen(error))  # noqa: TRY400 - no texts of exceptions in logs
        return self._give_up(study, UNFORESEEN, languages)

    def _encode(
        self, analysis: StudyAnalysis, languages: Sequence[LanguageCode]
    ) -> tuple[list[StoredResult], StudyAnalysis]:
        written: list[Path] = []
        try:
            rows = encode_and_keep(
                analysis,
                lambda result: self._write(analysis.study, result, written),
                ae_title=self._node.ae_title,
                encodings=self._encodings,
                languages=languages,
                reject_superseded=self._reject_superseded,
            )
        except BaseException:
            # The study may get other results instead, and then nothing would ever ask for these.
            for path in written:
                path.unlink(missing_ok=True)
            raise
        self._note(analysis, list_findings(analysis))
        return rows, analysis

    def _note(self, analysis: StudyAnalysis, said: list[Finding]) -> None:
        """Write a line of the audit trail: what was said of which image, and by which models."""
        spoke = dict.fromkeys(model for image in analysis.images for model in image.analysis.models)
        self._trail.note(
            AuditEvent.STUDY_ANALYSED,
            study_instance_uid=analysis.study.study_instance_uid,
            revision=analysis.study.revision,
            version=analysis.study.version,
            models=[f"{model.name} {model.version} {model.digest}" for model in spoke],
            images=[{"sop_instance_uid": one.sop_instance_uid, "decision": one.decision} for one in said],
        )

    def _give_up(
        self, study: Study, reason: str, languages: Sequence[LanguageCode]
    ) -> tuple[list[StoredResult], StudyAnalysis]:
        """Say of every image that it was not analysed, by nothing but plain values of its header."""
        reduced = reduce_study(study, reason)
        excluded = tuple(ExcludedInstance(instance=one, reason=one.defect) for one in reduced.instances)
        analysis = StudyAnalysis(study=reduced, images=(), excluded=excluded, models=self._pipeline.models)
        return self._encode(analysis, languages)

    def _place(self, study: Study) -> Study:
        """Say which earlier versions a study supersedes, and which it leaves standing."""
        earlier = self._store.earlier_versions(study.study_instance_uid, study.revision)
        return replace(
            study,
            supersedes=tuple(
                _refer_to(row, one.version)
                for one in earlier
                if one.superseded
                for row in one.results
                if row.kind != ResultKind.REJECTION_NOTE
            ),
            standing=tuple(one.version for one in earlier if not one.superseded),
        )

    def _write(self, study: Study, result: ResultObject, written: list[Path]) -> StoredResult:
        uid = str(result.ds.SOPInstanceUID)
        path = f"{study.study_instance_uid}/{study.revision}/{uid}.dcm"
        written.append(self._node.results_dir / path)
        write_durably(written[-1], to_part10(result.ds))
        return StoredResult(
            sop_instance_uid=uid,
            sop_class_uid=str(result.ds.SOPClassUID),
            series_instance_uid=str(result.ds.SeriesInstanceUID),
            kind=result.kind,
            path=path,
            source_sop_instance_uid=result.source_sop_instance_uid,
            language=result.language,
        )


def describe_exclusion(rule: Rule) -> str:
    """Say by which rule a study is not analysed."""
    return Phrase("Not analysed by rule '{rule}' of this site.", rule=rule.name)


def _refer_to(row: StoredResult, version: int) -> ResultReference:
    return ResultReference(
        sop_class_uid=row.sop_class_uid,
        sop_instance_uid=row.sop_instance_uid,
        series_instance_uid=row.series_instance_uid,
        version=version,
        source_sop_instance_uid=row.source_sop_instance_uid,
        language=row.language,
    )


def list_findings(analysis: StudyAnalysis) -> list[Finding]:
    """List what was said about each image of a study, without patient data."""
    said = [
        Finding(
            sop_instance_uid=image.instance.sop_instance_uid,
            decision=image.analysis.decision,
            region=image.analysis.region.region if image.analysis.region else None,
            probability=image.analysis.fracture.probability if image.analysis.fracture else None,
            reason=image.analysis.reason,
        )
        for image in analysis.images
    ]
    left_out = [
        Finding(
            sop_instance_uid=excluded.instance.sop_instance_uid,
            decision="not analysed",
            region=None,
            probability=None,
            reason=excluded.reason,
        )
        for excluded in analysis.excluded
    ]
    return said + left_out


def to_part10(ds: Dataset) -> bytes:
    """Encode a data set with its file meta information as a Part 10 file (PS3.10)."""
    buffer = BytesIO()
    dcmwrite(buffer, ds, enforce_file_format=True)
    return buffer.getvalue()

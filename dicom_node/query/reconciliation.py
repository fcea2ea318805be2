"""Search an archive for studies that it never sent, and let it send them.

A study is fetched when it lists images of the wanted modalities that have not come, and has not changed since the
search before: so the archive's own forwarding comes first. What comes twice is kept once. Whether a fetch has brought
everything is not taken from the archive's answer but looked at again in the next search. What was fetched in vain too
often is left to a person, and only compared again when more of it has come: however old it is by then.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from enum import Enum, auto

from dicom_node.errors import AssociationError, QueryError, describe_unforeseen
from dicom_node.query.listing import ListedStudy, list_images, list_recent_studies
from dicom_node.query.session import QuerySession, note_query, open_session
from dicom_node.settings import Archive, ReconcileSettings, Settings
from dicom_node.silence import Silence
from dicom_node.store import Retrieval, Store
from dicom_node.values import ListedImage
from inference.phrases import Phrase

_LOGGER = logging.getLogger(__name__)

_MOST_FAILURES = 3
"""An archive that fails so often in one search is left alone until the next."""


class _Outcome(Enum):
    NOTHING_TO_DO = auto()
    FETCHED = auto()
    FAILED = auto()


class Reconciliation:
    """One tick of the scheduler for one archive."""

    def __init__(self, settings: Settings, reconcile: ReconcileSettings, store: Store, archive: Archive) -> None:
        self._settings = settings
        self._reconcile = reconcile
        self._store = store
        self._archive = archive
        self._unasked: set[str] = set()
        """Studies about which it could not be asked when their turn was last."""
        self._silence = Silence(settings.node.search_silence(archive.name))
        self._silence.note(answers=True)  # what an earlier process has marked says nothing of now

    def __call__(self) -> None:
        """Search, and mark on the disk since when that has not gone well. Idempotent."""
        try:
            self._silence.note(answers=self._searches_well())
        except OSError as error:
            _LOGGER.error("what came of the search in %s could not be marked: %s", self._archive.name, error.strerror)  # noqa: TRY400  # one sentence

    def _searches_well(self) -> bool:
        try:
            self.search(time.time())
        except (AssociationError, QueryError) as error:
            _LOGGER.warning("could not search for studies that were never sent: %s", error)
            return False
        except Exception as error:  # noqa: BLE001  # the edge of the scheduler: a locked database must not end the ticks
            _LOGGER.error("the search in %s failed: %s", self._archive.name, describe_unforeseen(error))  # noqa: TRY400  # no texts in logs
            return False
        return not self._unasked

    def search(self, now: float) -> None:
        """Look at every recent study, and fetch what is due at `now`, Unix time in seconds.

        Raises
        ------
        AssociationError
            No association could be had.
        QueryError
            The archive does not answer.
        """
        outcomes: list[_Outcome] = []
        modalities = self._settings.completion.modalities
        note_query(
            self._settings.node, self._archive, QueryRetrieveLevel="STUDY", ModalitiesInStudy="\\".join(modalities)
        )
        with open_session(self._archive, self._settings.node.ae_title) as session:
            studies = list_recent_studies(session, hours=self._reconcile.hours, modalities=modalities, now=now)
            listed = {study.study_instance_uid for study in studies}
            self._unasked = {uid for uid in self._unasked & listed if not self._store.is_open(uid)}
            for known in self._select_due(studies, now):
                tried = len(outcomes) - outcomes.count(_Outcome.NOTHING_TO_DO)
                is_broken = outcomes.count(_Outcome.FAILED) >= _MOST_FAILURES or not session.is_open
                if is_broken or tried >= self._reconcile.at_once:
                    break
                outcomes.append(self._look_after(session, known, now))

    def _select_due(self, studies: Sequence[ListedStudy], now: float) -> list[Retrieval]:
        """Note what is new or has changed; return what is to be looked at, that which failed least first."""
        due = []
        for study in studies:
            known = self._store.find_retrieval(self._archive.name, study.study_instance_uid)
            if known is None or known.related_instances != study.related_instances:
                self._store.record_retrieval(
                    Retrieval(
                        archive=self._archive.name,
                        study_instance_uid=study.study_instance_uid,
                        related_instances=study.related_instances,
                        is_whole=False,
                    )
                )
            elif self._is_due(known, now):
                due.append(known)
        resumed = self._store.resumed_retrievals(self._archive.name, self._reconcile.tries)
        due += [known for known in resumed if not self._store.is_open(known.study_instance_uid)]
        return sorted(due, key=lambda known: known.tries)

    def _is_due(self, known: Retrieval, now: float) -> bool:
        # Where the archive does not say how many instances there are, there may be more by now.
        is_settled = known.is_whole and known.related_instances is not None
        is_early = now < known.next_try_at or self._store.is_open(known.study_instance_uid)
        return not (is_settled or self._has_given_up(known) or is_early)

    def _has_given_up(self, known: Retrieval) -> bool:
        return known.tries > self._reconcile.tries

    def _look_after(self, session: QuerySession, known: Retrieval, now: float) -> _Outcome:
        try:
            missing = self._list_missing(session, known.study_instance_uid)
        except QueryError as error:
            _LOGGER.warning("could not ask about study %s: %s", known.study_instance_uid, error)
            # No try is counted, but the next search is for the others. What was given up comes after them in any case.
            if not self._has_given_up(known):
                self._store.record_retrieval(replace(known, next_try_at=now + _wait_s(self._reconcile, 1)))
            self._unasked.add(known.study_instance_uid)
            return _Outcome.FAILED
        self._unasked.discard(known.study_instance_uid)
        if not missing:
            self._store.record_retrieval(replace(known, is_whole=True))
            return _Outcome.NOTHING_TO_DO
        if self._has_given_up(known):
            self._store.record_retrieval(replace(known, next_try_at=now))
            return _Outcome.NOTHING_TO_DO
        if known.tries == self._reconcile.tries:
            self._give_up(known, missing, now)
            return _Outcome.NOTHING_TO_DO
        return self._fetch(session, known, missing, now)

    def _give_up(self, known: Retrieval, missing: Sequence[ListedImage], now: float) -> None:
        told = Phrase(
            "{images} never came in {tries} tries; {archive} must forward the study by hand",
            images=_count(missing),
            tries=known.tries,
            archive=self._archive.name,
        )
        self._store.record_retrieval(replace(known, tries=known.tries + 1, next_try_at=now), event=told)
        _LOGGER.warning("study %s: %s", known.study_instance_uid, told)

    def _list_missing(self, session: QuerySession, study_instance_uid: str) -> list[ListedImage]:
        images = list_images(
            session,
            study_instance_uid,
            modalities=self._settings.completion.modalities,
            own_series=self._store.own_series(study_instance_uid),
        )
        received = self._store.received_uids(study_instance_uid)
        return [image for image in images if image.sop_instance_uid not in received]

    def _fetch(self, session: QuerySession, known: Retrieval, missing: Sequence[ListedImage], now: float) -> _Outcome:
        next_try_at = now + _wait_s(self._reconcile, known.tries)
        begun = replace(known, is_whole=False, tries=known.tries + 1, next_try_at=next_try_at)
        told = Phrase(
            "fetching {images} that {archive} never sent, try {number} of {tries}",
            images=_count(missing),
            archive=self._archive.name,
            number=begun.tries,
            tries=self._reconcile.tries,
        )
        self._store.record_retrieval(begun, event=told)
        _LOGGER.info("study %s: %s", known.study_instance_uid, told)
        try:
            for series in dict.fromkeys(image.series_instance_uid for image in missing):
                session.move_series(known.study_instance_uid, series)
        except QueryError as error:
            told = Phrase("could not be fetched: {why}", why=error.args[0])
            self._store.record_retrieval(begun, event=told)
            _LOGGER.warning("study %s %s", known.study_instance_uid, told)
            return _Outcome.FAILED
        return _Outcome.FETCHED


def longest_wait_s(reconcile: ReconcileSettings) -> float:
    """Return how far ahead the next fetch of a study is at most."""
    return _wait_s(reconcile, reconcile.tries)


def _wait_s(reconcile: ReconcileSettings, tries: int) -> float:
    """Return one, two, four, … periods, less a half: a tick that comes early must not cost a whole one."""
    return reconcile.every_s * (2.0**tries - 0.5)


def _count(images: Sequence[ListedImage]) -> str:
    return Phrase("1 image") if len(images) == 1 else Phrase("{number} images", number=len(images))

"""Ask an archive what it holds of the studies that are coming in, so that none is analysed before all of it is here."""

import logging
import time
from collections.abc import Sequence

from dicom_node.assemble.completeness import is_to_be_asked
from dicom_node.clock import ClockWatch
from dicom_node.errors import AssociationError, QueryError, describe_unforeseen
from dicom_node.query.listing import list_images
from dicom_node.query.session import QuerySession, note_query, open_session
from dicom_node.settings import Archive, Settings
from dicom_node.store import OpenStudy, Store
from dicom_node.values import ListedImage

_LOGGER = logging.getLogger(__name__)


class Asking:
    """One tick of the scheduler for one archive; a slow one delays none of the others."""

    def __init__(self, settings: Settings, store: Store, archive: Archive) -> None:
        self._settings = settings
        self._store = store
        self._archive = archive
        self._clock = ClockWatch()
        self._listening_since = time.time()

    def __call__(self) -> None:
        """Ask about every study that is due. Idempotent."""
        try:
            self._listening_since += self._clock.step()[0]
            self.ask(time.time())
        except Exception as error:  # noqa: BLE001  # the edge of the scheduler: a locked database must not end the ticks
            _LOGGER.error("%s was not asked: %s", self._archive.name, describe_unforeseen(error))  # noqa: TRY400  # no texts in logs

    def ask(self, now: float) -> None:
        """Ask about what is due at `now`, Unix time in seconds; where there is no answer, record that there is none."""
        completion, since = self._settings.completion, self._listening_since
        due = [
            study
            for study in self._store.open_studies()
            if self._is_mine(study) and is_to_be_asked(study, completion, now, listening_since=since)
        ]
        if not due:
            return
        unasked = list(due)
        try:
            with open_session(self._archive, self._settings.node.ae_title) as session:
                while unasked and session.is_open:
                    self._ask_about(session, unasked[0])
                    del unasked[0]
        except AssociationError as error:
            _LOGGER.warning("could not ask: %s", error)
        # The rest of this tick too: an archive that is down would cost a time-out for each of them.
        for study in unasked:
            self._record(study, None, time.time())

    def _is_mine(self, study: OpenStudy) -> bool:
        archives = self._settings.archives_by_sender
        asked = [archives[sender] for sender in study.senders if sender in archives]
        return asked[:1] == [self._archive.name]

    def _ask_about(self, session: QuerySession, study: OpenStudy) -> None:
        asked_at = time.time()
        images = None
        uid = study.study_instance_uid
        note_query(self._settings.node, self._archive, QueryRetrieveLevel="IMAGE", StudyInstanceUID=uid)
        try:
            images = list_images(
                session,
                study.study_instance_uid,
                modalities=self._settings.completion.modalities,
                own_series=self._store.own_series(study.study_instance_uid),
            )
        except QueryError as error:
            _LOGGER.warning("could not ask about study %s: %s", study.study_instance_uid, error)
        self._record(study, images, asked_at)

    def _record(self, study: OpenStudy, images: Sequence[ListedImage] | None, asked_at: float) -> None:
        self._store.record_listing(study.study_instance_uid, self._archive.name, images, asked_at=asked_at)

"""When a study counts as complete.

DICOM has no message for the end of a study, and archives split one study over several associations, so completeness is
a quiet period since the last instance, with a hard limit on waiting and an operator who may say so. Where the archive
that sends can be asked what it holds, quiet is not enough: all that it lists must have come, within the same limit.
"""

import logging
from collections.abc import Callable, Collection

from dicom_node.settings import CompletionSettings
from dicom_node.store import OpenStudy, Store

_LOGGER = logging.getLogger(__name__)

_ASK_AGAIN_S = 30
"""An archive that listed images which have not come is asked again: they may have been deleted meanwhile."""
_LAST_QUESTION_S = 30
"""After a restart there may be no time left to wait, but there is this much to ask, so that the report can say more."""


def is_complete(
    study: OpenStudy, completion: CompletionSettings, now: float, *, listening_since: float, is_asked: bool = False
) -> bool:
    """Tell whether nothing more need be waited for; times are Unix times in seconds.

    `is_asked` says whether an archive is asked about this study. One that could not be asked delays nothing.
    """
    may_be_asked = is_asked and study.asked_at is None and now - listening_since < _LAST_QUESTION_S
    waited_enough = now - study.first_open_at >= completion.max_wait_s and not may_be_asked
    if study.forced or waited_enough:
        return True
    is_quiet = _is_quiet(study, completion, now, listening_since)
    return is_quiet and (not is_asked or (_is_answer_fresh(study) and not _lacks_images(study)))


def is_to_be_asked(study: OpenStudy, completion: CompletionSettings, now: float, *, listening_since: float) -> bool:
    """Tell whether it is time to ask the archive what it holds of a study.

    That is when the study has gone quiet; and where it never does, before it is closed all the same.
    """
    is_soon_closed = now - study.first_open_at >= completion.max_wait_s / 2
    is_quiet = _is_quiet(study, completion, now, listening_since)
    if not (is_quiet or is_soon_closed):
        return False
    if study.asked_at is None or (is_quiet and not _is_answer_fresh(study)):
        return True
    may_differ = _lacks_images(study) or not _is_answer_fresh(study)
    return may_differ and now - study.asked_at >= _ASK_AGAIN_S


def close_complete_studies(
    store: Store,
    completion: CompletionSettings,
    now: float,
    *,
    listening_since: float,
    asked_senders: Collection[str] = (),
    may_lack_rows: Callable[[], bool] = lambda: False,
) -> None:
    """Make a revision of every study that is complete. Idempotent: safe to run twice or in two processes.

    `asked_senders` are the AE titles from which nothing is taken for complete before an archive was asked. Nothing is
    closed where `may_lack_rows` says that received files may still get their rows: what is missing has come already.
    """
    studies = store.open_studies()
    if may_lack_rows():  # asked after they were listed: what had no row then would not be noticed otherwise
        return
    for study in studies:
        is_asked = any(sender in asked_senders for sender in study.senders)
        if is_complete(study, completion, now, listening_since=listening_since, is_asked=is_asked):
            lacks = len(study.expectation.missing) if study.expectation else 0
            _LOGGER.info("study %s is complete, %d listed images missing", study.study_instance_uid, lacks)
            store.close_revision(study.study_instance_uid, now, seen=study)


def _is_quiet(study: OpenStudy, completion: CompletionSettings, now: float, listening_since: float) -> bool:
    """Silence counts only while the node was listening: after a restart, senders get a quiet period to go on."""
    return now - max(study.last_received_at, listening_since) >= completion.quiet_s


def _is_answer_fresh(study: OpenStudy) -> bool:
    """Tell whether the archive was asked since the last instance came: one more may mean that there are others."""
    return study.asked_at is not None and study.asked_at >= study.last_received_at


def _lacks_images(study: OpenStudy) -> bool:
    return study.expectation is not None and bool(study.expectation.missing)

"""When a study counts as complete.

DICOM has no message for the end of a study, and archives split one study over several associations, so completeness is
a quiet period since the last instance, with a hard limit on waiting and an operator who may say so.
"""

import logging

from dicom_node.settings import CompletionSettings
from dicom_node.store import OpenStudy, Store

_LOGGER = logging.getLogger(__name__)


def is_complete(study: OpenStudy, completion: CompletionSettings, now: float, *, listening_since: float) -> bool:
    """Tell whether nothing more need be waited for; times are Unix times in seconds.

    Silence counts only while the node was listening: after a restart, senders get a quiet period to go on.
    """
    quiet = now - max(study.last_received_at, listening_since) >= completion.quiet_s
    waited_enough = now - study.first_open_at >= completion.max_wait_s
    return study.forced or quiet or waited_enough


def close_complete_studies(store: Store, completion: CompletionSettings, now: float, *, listening_since: float) -> None:
    """Make a revision of every study that is complete. Idempotent: safe to run twice or in two processes."""
    for study in store.open_studies():
        if is_complete(study, completion, now, listening_since=listening_since):
            _LOGGER.info("study %s is complete", study.study_instance_uid)
            store.close_revision(study.study_instance_uid, now, seen=study)

"""Ask archives that took results and offered no proof whether they offer one now."""

import logging

from dicom_node.deliver.proof import find_offered_proofs
from dicom_node.errors import AssociationError, describe_unforeseen
from dicom_node.settings import Destination
from dicom_node.store import Store

_LOGGER = logging.getLogger(__name__)


class LaterProof:
    """A rare tick of the scheduler for one destination; a silent one delays none of the others."""

    def __init__(self, destination: Destination, ae_title: str, store: Store) -> None:
        self._destination = destination
        self._ae_title = ae_title
        self._store = store

    def __call__(self) -> None:
        """Ask, and have proven what can be. Idempotent."""
        name = self._destination.name
        try:
            if taken_up := self.ask():
                _LOGGER.info("%s: offers proof now: it is asked about %d earlier revisions", name, taken_up)
        except AssociationError as error:
            _LOGGER.warning("could not ask whether earlier results can be proven: %s", error)
        except Exception as error:  # noqa: BLE001  # the edge of the scheduler: a locked database must not end the ticks
            _LOGGER.error("%s was not asked: %s", name, describe_unforeseen(error))  # noqa: TRY400  # no texts in logs

    def ask(self) -> int:
        """Ask what the destination offers, where that matters; return of how many revisions proof is sought again.

        Of all results that lack it only what is offered is asked: one question, however many there are.

        Raises
        ------
        AssociationError
            No association could be had.
        """
        destination = self._destination
        if destination.is_believed or not self._store.has_unproven(destination.name):
            return 0
        if not any(find_offered_proofs(destination, self._ae_title).values()):
            return 0
        return self._store.reopen_unproven(destination.name)

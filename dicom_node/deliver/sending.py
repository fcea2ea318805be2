"""One try to send a destination what it lacks of a revision, with every answer recorded."""

import logging
from collections.abc import Sequence

from dicom_node.deliver.storage_scu import Delivery, ResultFile, send_results
from dicom_node.errors import AssociationError, RejectedError, describe_unforeseen
from dicom_node.settings import Destination, NodeSettings
from dicom_node.store import DeliveryState, DueDelivery, Store

_LOGGER = logging.getLogger(__name__)


def send_pending(destination: Destination, node: NodeSettings, store: Store, due: DueDelivery) -> None:
    """Send what is pending, and record what came of each object."""
    pending = [
        ResultFile(
            sop_instance_uid=row.sop_instance_uid, sop_class_uid=row.sop_class_uid, path=node.results_dir / row.path
        )
        for row in store.pending_results(due.study_instance_uid, due.digest, due.destination)
    ]
    for delivery in _try_to_send(destination, node.ae_title, pending) if pending else ():
        store.record_delivery(destination.name, delivery.sop_instance_uid, delivery.state, delivery.detail)
        _LOGGER.info("%s: %s %s %s", destination.name, delivery.sop_instance_uid, delivery.state, delivery.detail)


def _try_to_send(destination: Destination, ae_title: str, files: Sequence[ResultFile]) -> list[Delivery]:
    state = DeliveryState.PENDING
    try:
        return send_results(destination, ae_title, files)
    except RejectedError as error:
        state, detail = DeliveryState.PARKED, str(error)
    except AssociationError as error:
        detail = str(error)
    except Exception as error:  # noqa: BLE001  # the edge of a step: whatever it was, it is tried again and seen
        _LOGGER.error("%s: %s", destination.name, describe_unforeseen(error))  # noqa: TRY400  # no texts of exceptions in logs
        detail = f"could not be sent ({type(error).__name__}); see the log"
    return [Delivery(sop_instance_uid=file.sop_instance_uid, state=state, detail=detail) for file in files]

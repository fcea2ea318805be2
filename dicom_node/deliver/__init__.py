"""Last stage: bring the results to every destination, and prove that they are there."""

from dicom_node.deliver.later_proof import LaterProof
from dicom_node.deliver.proof import Prover, find_offered_proofs, propose_proofs
from dicom_node.deliver.sending import FURTHER_FORMS, send_now, send_pending
from dicom_node.deliver.storage_scu import (
    Delivery,
    ResultFile,
    classify_status,
    find_accepted,
    propose_results,
    send_results,
    verify_destination,
)

__all__ = [
    "FURTHER_FORMS",
    "Delivery",
    "LaterProof",
    "Prover",
    "ResultFile",
    "classify_status",
    "find_accepted",
    "find_offered_proofs",
    "propose_proofs",
    "propose_results",
    "send_now",
    "send_pending",
    "send_results",
    "verify_destination",
]

"""Last stage: bring the results to every destination, and prove that they are there."""

from dicom_node.deliver.proof import Prover, find_offered_proofs
from dicom_node.deliver.sending import send_pending
from dicom_node.deliver.storage_scu import Delivery, ResultFile, find_accepted, send_results, verify_destination

__all__ = [
    "Delivery",
    "Prover",
    "ResultFile",
    "find_accepted",
    "find_offered_proofs",
    "send_pending",
    "send_results",
    "verify_destination",
]

"""Last stage: bring the results to every destination."""

from dicom_node.deliver.storage_scu import Delivery, ResultFile, send_results, verify_destination

__all__ = ["Delivery", "ResultFile", "send_results", "verify_destination"]

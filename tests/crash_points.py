"""Where a node is killed: the transitions of an object and of a study, by the functions that make them."""

RECEIVING = {
    "a fragment is written": "after dicom_node.receive.spool:IncomingFile.write",
    "a received file is flushed": "after dicom_node.receive.spool:IncomingFile.sync",
    "a received file has two names": "after os:link",
    "a received file has its name": "after dicom_node.receive.spool:Spool.keep",
    "a row is about to be written": "before dicom_node.store.store:Store.add_instances",
    "a row is committed": "after dicom_node.store.store:Store.add_instances",
    "a response is about to be sent": "before dicom_node.receive.messages:Messages._answer",
    "a response is sent": "after dicom_node.receive.messages:Messages._answer",
}
"""An object on its way in: a receiver process dies, and is replaced."""

WORKING = {
    "a study is about to be closed": "before dicom_node.store.store:Store.close_revision",
    "a study is closed": "after dicom_node.store.store:Store.close_revision",
    "a workflow is started": "after dicom_node.workflow:StudyWorkflow._start_revision",
    "an analysis has begun": "before dicom_node.result_sets:ResultSets.make",
    "a result is flushed": "before pathlib:Path.replace",
    "a result has its name": "after dicom_node.result_sets:ResultSets._write",
    "all results have their names": "before dicom_node.store.store:Store.add_results",
    "results are recorded": "after dicom_node.store.store:Store.add_results",
    "an analysis has ended": "after dicom_node.result_sets:ResultSets.make",
    "a try is about to be counted": "before dicom_node.store.store:Store.begin_try",
    "a try is counted": "after dicom_node.store.store:Store.begin_try",
    "results are about to be sent": "before dicom_node.deliver.storage_scu:send_results",
    "a result is sent": "soon after pynetdicom.dimse:DIMSEServiceProvider.send_msg",
    "a result is acknowledged": "after pynetdicom.association:Association.send_c_store",
    "results are acknowledged": "after dicom_node.deliver.storage_scu:send_results",
    "a delivery is recorded": "after dicom_node.store.store:Store.record_delivery",
}
"""A study from complete to delivered: the worker dies."""

POINTS = RECEIVING | WORKING
SHORT = (
    *RECEIVING,
    "a study is closed",
    "an analysis has begun",
    "a result has its name",
    "results are recorded",
    "results are about to be sent",
    "a result is sent",
    "results are acknowledged",
)
"""The points of a short run: every transition of an object, and one between each two states of a study."""

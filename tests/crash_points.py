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
    "the step of analysis is about to begin": "before dicom_node.workflow:StudyWorkflow.make_results",
    "a study is in analysis": "after dicom_node.store.store:Store.set_revision_state",
    "an analysis has begun": "before dicom_node.result_sets:ResultSets.make",
    "a result is flushed": "before pathlib:Path.replace",
    "a result has its name": "after dicom_node.result_sets:ResultSets._write",
    "all results have their names": "before dicom_node.store.store:Store.add_results",
    "results are recorded": "after dicom_node.store.store:Store.add_results",
    "an analysis has ended": "after dicom_node.result_sets:ResultSets.make",
    # The step wakes the next sweep when it has noted that.
    "a study is in delivery": "before apscheduler.schedulers.base:BaseScheduler.modify_job",
    "the step of analysis is over": "after dicom_node.workflow:StudyWorkflow.make_results",
    "a try is about to be counted": "before dicom_node.store.store:Store.begin_try",
    "a try is counted": "after dicom_node.store.store:Store.begin_try",
    "the step of sending is about to begin": "before dicom_node.workflow:StudyWorkflow.send_pending",
    "results are about to be sent": "before dicom_node.deliver.storage_scu:send_results",
    "a result is sent": "soon after pynetdicom.dimse:DIMSEServiceProvider.send_msg",
    "a result is acknowledged": "after pynetdicom.association:Association.send_c_store",
    "results are acknowledged": "after dicom_node.deliver.storage_scu:send_results",
    "a delivery is recorded": "after dicom_node.store.store:Store.record_delivery",
    "the step of sending is over": "after dicom_node.workflow:StudyWorkflow.send_pending",
}
"""A study from complete to sent: the worker dies."""

PROVING = {
    "a proof is about to be asked for": "before dicom_node.workflow:StudyWorkflow.prove_sent",
    "a result is found": "after dicom_node.store.store:Store.record_verified",
    "a transaction is about to be recorded": "before dicom_node.store.store:Store.begin_transaction",
    "a transaction is recorded": "after dicom_node.store.store:Store.begin_transaction",
    "commitment is requested": "after dicom_node.deliver.commitment:request_commitment",
    "a report is about to be taken": "before dicom_node.store.store:Store.take_report",
    "a report is taken": "after dicom_node.store.store:Store.take_report",
    "a result is about to be settled": "before dicom_node.store.store:Store.settle",
    "a result is settled": "after dicom_node.store.store:Store.settle",
    "the step of proof is over": "after dicom_node.workflow:StudyWorkflow.prove_sent",
    "a loss is about to be recorded": "before dicom_node.store.store:Store.record_loss",
    "a loss is recorded": "after dicom_node.store.store:Store.record_loss",
    "a study is about to be done": "before dicom_node.store.delivery_store:set_state",
    "a study is done": "after dicom_node.store.store:Store.finish_delivered",
}
"""From sent to done: the worker dies, or the receiver process that a report came to."""

ALL_SENT, ALL_SETTLED = "a proof is about to be asked for", "a study is about to be done"
SECOND = {
    "a loss is about to be recorded": ALL_SENT,
    "a loss is recorded": ALL_SENT,
    "a study is done": ALL_SETTLED,  # every sweep comes to this point; the one after that death has something to do
}
"""Points that a study comes to only after it has died at another one."""
LOSING = ("a loss is about to be recorded", "a loss is recorded")
"""Between the two deaths the archive loses a result."""

POINTS = RECEIVING | WORKING | PROVING
SHORT = (
    *RECEIVING,
    "a study is closed",
    "an analysis has begun",
    "a result has its name",
    "results are recorded",
    "results are about to be sent",
    "a result is sent",
    "results are acknowledged",
    "a transaction is recorded",
    "a report is about to be taken",
    "a loss is recorded",
    "a study is done",
)
"""The points of a short run: every transition of an object, and one between each two states of a study."""

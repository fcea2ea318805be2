"""What the node says that it sends is what it makes."""

from result_bench import build_small_dx

from dicom_node.encode.sop_classes import RESULT_SOP_CLASSES
from dicom_node.result_sets import ResultSets


def test_every_object_is_of_the_sop_class_of_its_kind(node, pipeline):
    node.results = ResultSets(node.settings, node.store, pipeline, ("archive",), reject_superseded=True)
    first = build_small_dx()
    node.receive(first)
    node.make(first.StudyInstanceUID)
    late = build_small_dx(StudyInstanceUID=first.StudyInstanceUID, PatientID=first.PatientID)
    node.receive(late)
    node.make(first.StudyInstanceUID)
    made = {
        (row.kind, row.sop_class_uid)
        for one in node.store.status(2)
        for row in node.store.results_of(first.StudyInstanceUID, one.digest)
    }
    assert made == {(str(kind), str(uid)) for kind, uid in RESULT_SOP_CLASSES.items()}

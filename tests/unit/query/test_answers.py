import pytest
from pydicom import Dataset
from pynetdicom.presentation import build_context

from dicom_node.c_find import STUDY_ROOT_FIND
from dicom_node.deliver.verification import Place, Sought, locate
from dicom_node.errors import QueryError
from dicom_node.query.session import QuerySession
from dicom_node.settings import Archive

ARCHIVE = Archive(name="archive", ae_title="ARCHIVE", host="127.0.0.1", port=4242)


class AnsweredAssociation:
    """An association on which every question gets the same matches; None is one that pynetdicom cannot decode."""

    dimse_timeout = 60
    accepted_contexts = (build_context(STUDY_ROOT_FIND),)

    def __init__(self, *matches):
        self._matches = matches

    def send_c_find(self, _query, _model):
        for match in self._matches:
            yield build(Status=0xFF00), match
        yield build(Status=0x0000), None


def build(**elements):
    ds = Dataset()
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    return ds


IMAGE = build(SOPInstanceUID="1.2.3", PatientID="A")


@pytest.mark.fault(60)
def test_a_list_with_a_match_that_does_not_decode_is_no_list():
    """A match that does not decode may be the image that is missing: the answer counts as none."""
    assert QuerySession(AnsweredAssociation(IMAGE), ARCHIVE, "NODE").find("IMAGE", SOPInstanceUID="") == [IMAGE]
    with pytest.raises(QueryError, match="archive: C-FIND was answered with a match that cannot be read"):
        QuerySession(AnsweredAssociation(IMAGE, None), ARCHIVE, "NODE").find("IMAGE", SOPInstanceUID="")


@pytest.mark.fault(63)
@pytest.mark.parametrize(("matches", "place"), [((IMAGE, None), Place.RIGHT), ((None,), Place.NOWHERE)])
def test_a_result_is_found_beside_a_match_that_does_not_decode_but_is_none(matches, place):
    """A match that does not decode proves no delivery, and stands in the way of none."""
    sought = Sought(sop_instance_uid="1.2.3", series_instance_uid="1.2", patient_id="A")
    assert locate(AnsweredAssociation(*matches), "1.1", [sought]) == {"1.2.3": place}

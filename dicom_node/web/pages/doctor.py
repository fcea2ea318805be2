"""The doctor: what of the set-up is in order, and what to do about the rest."""

from fastapi import APIRouter, Request, Response

from dicom_node.web.access import Operator, OwnForm
from dicom_node.web.site import TheSite
from dicom_node.web.templating import render, stream

router = APIRouter(prefix="/doctor", include_in_schema=False)


@router.get("")
def show_doctor(request: Request, visitor: Operator) -> Response:
    """Show the page; it asks archives only when it is told to."""
    return render(request, "doctor.html", visitor=visitor, findings=None)


@router.post("", dependencies=[OwnForm])
def examine(request: Request, site: TheSite, visitor: Operator) -> Response:
    """Show what each check finds as soon as it has found it."""
    site.note(visitor, "examine set-up")
    return stream(request, "doctor.html", visitor=visitor, findings=site.examination.findings())

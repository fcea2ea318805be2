"""The worklist."""

from fastapi import APIRouter, Request, Response

from dicom_node.web.access import AnyUser
from dicom_node.web.templating import render

router = APIRouter(include_in_schema=False)


@router.get("/")
def show_worklist(request: Request, visitor: AnyUser) -> Response:
    """Show the page."""
    return render(request, "worklist.html", visitor=visitor)

"""What programs ask, with a token instead of a session."""

from typing import Annotated

from fastapi import APIRouter, Query

from dicom_node.store import RevisionStatus
from dicom_node.web.access import AnyProgram
from dicom_node.web.site import TheSite

router = APIRouter(tags=["studies"], responses={401: {"description": "no token that is known"}})


@router.get("/studies", responses={403: {"description": "the token's user may not"}})
def list_studies(
    site: TheSite, _program: AnyProgram, limit: Annotated[int, Query(ge=1, le=1000)] = 50
) -> list[RevisionStatus]:
    """List the newest studies with what became of them, by UID: no patient data."""
    return site.store.status(limit)

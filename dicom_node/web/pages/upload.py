"""Upload: drop an image, see what the models say. Nothing of it is kept or sent."""

from fastapi import APIRouter, HTTPException, Request, Response
from starlette.concurrency import run_in_threadpool

from dicom_node.errors import NodeError
from dicom_node.web.access import ForbiddenError, Reader
from dicom_node.web.predictions import Answer, BusyError
from dicom_node.web.secret_tokens import is_same
from dicom_node.web.site import TheSite
from dicom_node.web.templating import render
from dicom_node.web.uploads import MOST_FILES, read_upload

router = APIRouter(prefix="/upload", include_in_schema=False)


@router.get("")
def show_upload(request: Request, site: TheSite, visitor: Reader) -> Response:
    """Show the form."""
    site.predictions.warm_up()
    return _show(request, site, visitor)


@router.post("")
async def answer_upload(request: Request, site: TheSite, visitor: Reader) -> Response:
    """Show what the models say of each file."""
    upload = await read_upload(request)
    if not is_same(upload.form_token, visitor.form_token):
        raise ForbiddenError
    try:
        answers = await run_in_threadpool(site.predictions.answer, upload.files)
    except BusyError as error:
        raise HTTPException(503, f"{str(error).capitalize()}.", {"Retry-After": "10"}) from None
    except ChildProcessError:
        raise HTTPException(503, "The models cannot be loaded. The node's log says why.") from None
    site.note(visitor, "upload")
    answered = [
        (file.name, answer if isinstance(answer, Answer) else None, _explain(answer))
        for file, answer in zip(upload.files, answers, strict=True)
    ]
    return _show(request, site, visitor, answered)


def _explain(answer: Answer | NodeError) -> str:
    return f"{str(answer).rstrip('.')}." if isinstance(answer, NodeError) else ""


def _show(
    request: Request, site: TheSite, visitor: Reader, answered: list[tuple[str, Answer | None, str]] | None = None
) -> Response:
    return render(
        request,
        "upload.html",
        visitor=visitor,
        answered=answered or [],
        most_files=MOST_FILES,
        most_mb=site.settings.web.largest_upload_mb,
    )

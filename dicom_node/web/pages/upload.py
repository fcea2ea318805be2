"""Upload: drop an image, see what the models say. Nothing of it is kept, and nothing is sent unless it is asked for."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from fastapi import APIRouter, HTTPException, Request, Response
from starlette.concurrency import run_in_threadpool

from dicom_node.errors import NodeError, StudyError
from dicom_node.operate.handed_files import HandedFileError, Sent
from dicom_node.web.access import ForbiddenError, Operator, Reader
from dicom_node.web.predictions import Answer, BusyError
from dicom_node.web.secret_tokens import is_same
from dicom_node.web.sign_in import Visitor
from dicom_node.web.site import Site, TheSite
from dicom_node.web.templating import explain, render
from dicom_node.web.uploads import MOST_FILES, read_upload
from inference.phrases import Phrase

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
    with _told():
        answers = await run_in_threadpool(site.predictions.answer, upload.files)
    site.note(visitor, "upload")
    answered = [
        (file.name, answer if isinstance(answer, Answer) else None, _explain(answer))
        for file, answer in zip(upload.files, answers, strict=True)
    ]
    return _show(request, site, visitor, answered=answered)


@router.post("/send")
async def send_upload(request: Request, site: TheSite, visitor: Operator) -> Response:
    """Analyse the files and send their results to the destination that was chosen."""
    upload = await read_upload(request)
    if not is_same(upload.form_token, visitor.form_token):
        raise ForbiddenError
    try:
        with _told():
            sent = await run_in_threadpool(site.predictions.send, upload.files, upload.destination, site.store)
    except (HandedFileError, StudyError) as error:
        return _show(request, site, visitor, refusal=_explain(error), status_code=422)
    facts = {"study_instance_uid": sent.study_instance_uid, "destination": sent.destination}
    site.note(visitor, "send uploaded", **facts)
    return _show(request, site, visitor, sent=sent)


@contextmanager
def _told() -> Iterator[None]:
    """Say why nothing can be analysed now."""
    try:
        yield
    except BusyError as error:
        raise HTTPException(503, explain(error), {"Retry-After": "10"}) from None
    except ChildProcessError:
        raise HTTPException(503, Phrase("The models cannot be loaded. The node's log says why.")) from None


def _explain(answer: Answer | NodeError) -> str:
    return explain(answer) if isinstance(answer, NodeError) else ""


def _show(
    request: Request,
    site: Site,
    visitor: Visitor,
    *,
    answered: Sequence[tuple[str, Answer | None, str]] = (),
    sent: Sent | None = None,
    refusal: str = "",
    status_code: int = 200,
) -> Response:
    return render(
        request,
        "upload.html",
        visitor=visitor,
        answered=answered,
        sent=sent,
        refusal=refusal,
        destinations=[one.name for one in site.settings.destinations],
        most_files=MOST_FILES,
        most_mb=site.settings.web.largest_upload_mb,
        status_code=status_code,
    )

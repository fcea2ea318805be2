"""The rules of the configuration, and what they make of a file that is dropped here. Nothing of it is kept."""

from fastapi import APIRouter, HTTPException, Request, Response
from starlette.concurrency import run_in_threadpool

from dicom_node.errors import StudyError
from dicom_node.operate.rules import describe_conditions, describe_rule
from dicom_node.web.access import ForbiddenError, Reader
from dicom_node.web.rule_tester import TestedStudy
from dicom_node.web.secret_tokens import is_same
from dicom_node.web.sign_in import Visitor
from dicom_node.web.site import Site, TheSite
from dicom_node.web.templating import explain, render
from dicom_node.web.uploads import MOST_FILES, read_upload
from inference.phrases import Phrase

router = APIRouter(prefix="/rules", include_in_schema=False)


@router.get("")
def show_rules(request: Request, site: TheSite, visitor: Reader) -> Response:
    """Show the rules and the form."""
    return _show(request, site, visitor)


@router.post("")
async def test_rules(request: Request, site: TheSite, visitor: Reader) -> Response:
    """Show what the rules make of the files."""
    upload = await read_upload(request)
    if not is_same(upload.form_token, visitor.form_token):
        raise ForbiddenError
    site.note(visitor, "test rules")
    try:
        tested = await run_in_threadpool(site.rule_tester.test, upload.files)
    except StudyError as error:
        return _show(request, site, visitor, problem=explain(error), status_code=422)
    except ChildProcessError:
        raise HTTPException(503, Phrase("The file cannot be read now. The node's log says why.")) from None
    return _show(request, site, visitor, tested=tested)


def _show(
    request: Request,
    site: Site,
    visitor: Visitor,
    *,
    tested: list[TestedStudy] | None = None,
    problem: str = "",
    status_code: int = 200,
) -> Response:
    rules = [(rule, describe_conditions(rule), describe_rule(rule)) for rule in site.settings.rules]
    return render(
        request,
        "rules.html",
        visitor=visitor,
        rules=rules,
        tested=tested or [],
        problem=problem,
        most_files=MOST_FILES,
        most_mb=site.settings.web.largest_upload_mb,
        status_code=status_code,
    )

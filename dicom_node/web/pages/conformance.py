"""The DICOM conformance statement of the node as it runs, for whoever connects it with something."""

from fastapi import APIRouter, Request, Response
from markupsafe import Markup

from dicom_node.operate.conformance import build_statement, write_html_body, write_markdown
from dicom_node.web.access import AnyUser
from dicom_node.web.site import TheSite
from dicom_node.web.templating import render

router = APIRouter(prefix="/conformance", include_in_schema=False)


@router.get("")
def show_conformance(request: Request, site: TheSite, visitor: AnyUser) -> Response:
    """Show the statement."""
    statement = Markup(write_html_body(build_statement(site.settings)))  # noqa: S704  # it escapes what it writes
    return render(request, "conformance.html", visitor=visitor, statement=statement)


@router.get("/statement.md")
def save_conformance(site: TheSite, _visitor: AnyUser) -> Response:
    """Return the statement as Markdown, to be saved."""
    headers = {"Content-Disposition": 'attachment; filename="conformance.md"'}
    return Response(write_markdown(build_statement(site.settings)), media_type="text/markdown", headers=headers)

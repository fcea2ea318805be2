"""Pages out of templates. What a template is given is text, except the node's own charts and documents (`Markup`)."""

from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse, StreamingResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from dicom_node import __version__
from dicom_node.operate.timeline import format_duration, format_time
from dicom_node.web.navigation import entries_for
from dicom_node.web.roles import Permission, may
from dicom_node.web.sign_in import Visitor
from dicom_node.web.wording import find_wording
from inference.phrases import Phrase

FOLDER = Path(__file__).parent

_ENVIRONMENT = Environment(
    loader=FileSystemLoader(FOLDER / "templates"),
    autoescape=True,  # of every template, whatever its name ends with
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def capitalize_first(text: str) -> str:
    """Write a sentence with a capital letter; names in it stay as they are."""
    return text[:1].upper() + text[1:]


_ENVIRONMENT.filters |= {"time": format_time, "duration": format_duration, "capitalize_first": capitalize_first}


def explain(error: Exception) -> str:
    """Return what an error says, as a sentence; a text of its own is kept as the `Phrase` that it may be."""
    text = error.args[0] if error.args and isinstance(error.args[0], str) else str(error)
    return text if text.endswith(".") else Phrase("{text}.", text=text)


def render(
    request: Request, name: str, *, visitor: Visitor | None = None, status_code: int = 200, **values: Any
) -> HTMLResponse:
    """Render a template for whoever is signed in."""
    content = _ENVIRONMENT.get_template(name).render(_gather(request, visitor), **values)
    return HTMLResponse(content, status_code=status_code)


def stream(request: Request, name: str, *, visitor: Visitor, **values: Any) -> StreamingResponse:
    """Render a template piece by piece, as far as what it goes through has come."""
    pieces = _ENVIRONMENT.get_template(name).generate(_gather(request, visitor), **values)
    return StreamingResponse(pieces, media_type="text/html")


def _gather(request: Request, visitor: Visitor | None) -> dict[str, Any]:
    """Gather what every page shows."""
    role = visitor.user.role if visitor else ""
    wording = find_wording(request)
    return {
        "language": wording.language.code,
        **{name: getattr(wording, name) for name in ("say", "count", "tell", "label", "number", "share")},
        "code": Markup("<code>{}</code>").format,
        "uid": Markup('<span class="uid">{}</span>').format,
        "moment": Markup('<span class="moment">{}</span>').format,
        "path": request.url.path,
        "version": __version__,
        "visitor": visitor,
        "form_token": visitor.form_token if visitor else "",
        "navigation": entries_for(role),
        "may": lambda permission: may(role, Permission(permission)),
    }

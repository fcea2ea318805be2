"""The application: every address, and what is answered where there is nothing to see."""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from dicom_node import __version__
from dicom_node.operate.metrics import build_metrics
from dicom_node.settings import Settings
from dicom_node.store import Accounts, Store
from dicom_node.web import health, programs
from dicom_node.web.access import LIVE, ForbiddenError, SignInRequiredError, TokenRequiredError, cookie_name
from dicom_node.web.pages import (
    account,
    conformance,
    doctor,
    rules,
    signing_in,
    statistics,
    study,
    upload,
    users,
    worklist,
)
from dicom_node.web.protection import Protection
from dicom_node.web.site import build_site
from dicom_node.web.templating import FOLDER, render
from inference.phrases import Phrase

Handler = Callable[[Request, Exception], Response | Awaitable[Response]]


def build_app(settings: Settings, store: Store, accounts: Accounts) -> FastAPI:
    """Build the application."""
    app = FastAPI(title="DICOM fracture AI node", version=__version__, docs_url=None, redoc_url=None)
    app.state.site = build_site(settings, store, accounts)
    for module in (health, programs, signing_in, worklist, study, upload, account, users):
        app.include_router(module.router)
    for page in (statistics, rules, doctor, conformance):
        app.include_router(page.router)
    app.include_router(build_metrics(settings, store))
    app.mount("/static", StaticFiles(directory=FOLDER / "static"), name="static")
    for kind, handler in _HANDLERS.items():
        app.add_exception_handler(kind, handler)
    app.add_middleware(
        Protection,
        upload_paths=frozenset({"/upload", "/upload/send", "/predict", "/rules"}),
        upload_bytes=round(settings.web.largest_upload_mb * 1e6),
        https=settings.web.https,
    )
    app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=[str(proxy) for proxy in settings.web.proxies])
    return app


def _send_to_login(request: Request, _error: Exception) -> Response:
    if LIVE in request.headers:
        return Response(status_code=401)
    had_one = cookie_name(request.app.state.site) in request.cookies
    return RedirectResponse(f"/login{'?ended=1' if had_one else ''}", 303)


def _ask_for_token(_request: Request, _error: Exception) -> Response:
    headers = {"WWW-Authenticate": "Bearer"}
    return JSONResponse({"detail": "a token is needed: `dicom-node web-token add`"}, 401, headers)


def _forbid(request: Request, _error: Exception) -> Response:
    return _say(
        request, 403, Phrase("Your role may not do this, or the page you did it from is of an earlier session.")
    )


def _answer_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it alone
    said = Phrase("There is no such page.") if error.detail == "Not Found" else error.detail
    return _say(request, error.status_code, said, error.headers)


def _refuse_values(request: Request, error: Exception) -> Response:
    """Name the fields that are wrong, without their values, which may be a patient's."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it alone
    wrong = [{"loc": list(one["loc"]), "msg": one["msg"], "type": one["type"]} for one in error.errors()]
    if _wants_page(request):
        return _say(request, 422, Phrase("This address or form has a value that is none."))
    return JSONResponse({"detail": wrong}, 422)


def _fail(request: Request, _error: Exception) -> Response:
    return _say(request, 500, Phrase("This did not work. The node's log says where."))


def _say(request: Request, code: int, said: str, headers: Any = None) -> Response:
    if not _wants_page(request):
        return JSONResponse({"detail": said}, code, headers)
    answer = render(request, "error.html", said=said, status_code=code)
    answer.headers.update(headers or {})
    return answer


def _wants_page(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")


_HANDLERS: dict[type[Exception], Handler] = {
    SignInRequiredError: _send_to_login,
    TokenRequiredError: _ask_for_token,
    ForbiddenError: _forbid,
    HTTPException: _answer_http_error,
    RequestValidationError: _refuse_values,
    Exception: _fail,
}

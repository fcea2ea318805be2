"""What stands before every page: limits of size and time, refusal of other sites' forms, headers for the browser."""

import asyncio
from collections.abc import Mapping

from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dicom_node.web import patience
from inference.phrases import Phrase

_FORM_BYTES = 64_000
"""The largest body of what is no upload."""
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Nothing from elsewhere, no script or style inside a page; data: for pictures that are kept nowhere."""

_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    # No other site learns an address. With "no-referrer" browsers would say "Origin: null" of the site's own forms too.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    # What a page has shown must not be on the disk of the machine it was shown on.
    "Cache-Control": "no-store",
}


class Protection:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp, *, upload_paths: frozenset[str], upload_bytes: int, https: bool) -> None:
        self._app = app
        self._upload_paths = upload_paths
        self._upload_bytes = upload_bytes
        self._headers = {**_HEADERS, **({"Strict-Transport-Security": "max-age=31536000"} if https else {})}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)

        async def send_protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    own.setdefault(name, value)
            await send(message)

        if scope["method"] not in _SAFE and comes_from_elsewhere(headers):
            refusal = PlainTextResponse("This form is of another site.", status_code=403)
            await refusal(scope, receive, send_protected)
            return
        most = self._upload_bytes if scope["path"] in self._upload_paths else _FORM_BYTES
        await self._app(scope, _limit(receive, headers, most), send_protected)


def comes_from_elsewhere(headers: Headers) -> bool:
    """Tell whether a browser says that another site made it ask; what is no browser says nothing."""
    if headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        return True
    origin, host = headers.get("origin"), headers.get("host")
    return origin is not None and origin not in {f"http://{host}", f"https://{host}"}


def _limit(receive: Receive, headers: Headers, most: int) -> Receive:
    declared = headers.get("content-length", "")
    received, is_complete = 0, False
    began: float | None = None
    # FastAPI makes "400 Bad Request" of any other exception.
    too_large = HTTPException(413, Phrase("This is more than {size:g} MB.", size=most / 1e6))
    too_slow = HTTPException(408, Phrase("This took too long to arrive."))

    async def receive_limited() -> Message:
        nonlocal received, is_complete, began
        if declared.isdigit() and int(declared) > most:
            raise too_large
        began = began or asyncio.get_running_loop().time()
        until = began + max(patience.BODY_S, received / patience.BODY_BYTES_A_SECOND)
        try:
            # What comes after the body is that the browser has gone, which may take as long as the answer.
            async with asyncio.timeout_at(None if is_complete else until):
                message = await receive()
        except TimeoutError:
            raise too_slow from None
        received += len(message.get("body", b""))
        is_complete = not message.get("more_body", False)
        if received > most:
            raise too_large
        return message

    return receive_limited

"""Where alerts go: a webhook (JSON POST), e-mail (SMTP), and the log, which is always there."""

import json
import logging
import smtplib
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from dicom_node import __version__
from dicom_node.alerts.message import Event, Message
from dicom_node.errors import AlertError
from dicom_node.settings import AlertSettings

_LOGGER = logging.getLogger(__name__)
_PORTS = {"starttls": 587, "tls": 465, "none": 25}
_PATIENCE = 10
"""In time-outs: each read has one, and a server that always says a little more must come to an end too."""
_LOOK_S = 0.1
_READY = 220
"""What a mail server says first (RFC 5321 4.2.3)."""


class Channel(Protocol):
    """Takes messages to somebody."""

    name: str

    @property
    def where(self) -> str:
        """Whom it tells, in words."""

    def tell(self, message: Message) -> None:
        """Take a message there; raises `AlertError` where it was not taken."""

    def check(self) -> None:
        """Find out whether messages would be taken, without one; raises `AlertError`."""


class LogChannel:
    """The log of the process: cannot fail."""

    name = "log"
    where = "the log"

    def tell(self, message: Message) -> None:
        """Write a line for each alert."""
        for one in message.news:
            level = logging.INFO if one.event in {Event.OVER, Event.TEST} else logging.WARNING
            _LOGGER.log(level, "alert %s: %s: %s", one.event, one.kind, one.says)

    def check(self) -> None:
        """There is nothing to check."""


class Webhook:
    """An HTTP server that takes a POST of JSON, and answers 2xx."""

    name = "webhook"

    def __init__(self, settings: AlertSettings) -> None:
        self._settings = settings
        self._url = urlsplit(settings.webhook_url)

    @property
    def where(self) -> str:
        """Host and port; the path may be a secret."""
        return f"webhook at {self._url.netloc}"

    def tell(self, message: Message) -> None:
        """Post a message. A redirection is not followed."""
        headers = {"Content-Type": "application/json", "User-Agent": f"dicom-node/{__version__}"}
        if self._settings.webhook_token_file:
            headers["Authorization"] = f"Bearer {_read_secret(self._settings.webhook_token_file)}"
        path = self._url.path or "/"
        with self._connected() as connection:
            target = f"{path}?{self._url.query}" if self._url.query else path
            connection.request("POST", target, json.dumps(message.to_json()).encode(), headers)
            status = connection.getresponse().status
        if not 200 <= status < 300:
            raise AlertError(f"{self.where} answers {status}")

    def check(self) -> None:
        """Connect, and read the token."""
        if self._settings.webhook_token_file:
            _read_secret(self._settings.webhook_token_file)
        with self._connected():
            pass

    @contextmanager
    def _connected(self) -> Iterator[HTTPConnection]:
        host, port, timeout_s = self._url.hostname or "", self._url.port, self._settings.timeout_s
        connection: HTTPConnection | None = None
        try:
            if self._url.scheme == "https":
                context = _build_context(self._settings)
                connection = HTTPSConnection(host, port, timeout=timeout_s, context=context)
            else:
                connection = HTTPConnection(host, port, timeout=timeout_s)
            with _within(_PATIENCE * timeout_s, connection):
                connection.connect()
                yield connection
        except (OSError, HTTPException) as error:
            raise AlertError(f"{self.where}: {_name(error)}") from error
        finally:
            if connection is not None:
                connection.close()


class Mail:
    """A mail server."""

    name = "mail"

    def __init__(self, settings: AlertSettings) -> None:
        self._settings = settings
        self._port = settings.smtp_port or _PORTS[settings.smtp_security]

    @property
    def where(self) -> str:
        """Host and port."""
        return f"mail server {self._settings.smtp_host}:{self._port}"

    def tell(self, message: Message) -> None:
        """Send one e-mail to everybody; none is sent where the server refuses any of them."""
        mail = EmailMessage()
        mail["Subject"], mail["From"] = message.title[:200], self._settings.mail_from
        mail["To"] = ", ".join(self._settings.mail_to)
        mail["Date"] = formatdate(message.at)
        mail["Message-ID"] = make_msgid(domain=self._settings.mail_from.rpartition("@")[2])
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(f"{message.text}\n\n-- \ndicom-node {__version__}, {message.node}\n")
        with self._connected() as server:
            if refused := server.send_message(mail):
                raise AlertError(f"{self.where} does not take mail for {len(refused)} of the addresses in mail_to")

    def check(self) -> None:
        """Connect and log in."""
        with self._connected() as server:
            server.noop()

    @contextmanager
    def _connected(self) -> Iterator[smtplib.SMTP]:
        settings = self._settings
        try:
            server = self._build()
            # Each of them has an answer of its own.
            limit_s = (_PATIENCE + len(settings.mail_to)) * settings.timeout_s
            with _within(limit_s, server), server:
                code, said = server.connect(settings.smtp_host, self._port)
                if code != _READY:
                    raise smtplib.SMTPConnectError(code, said)
                if settings.smtp_security == "starttls":
                    server.starttls(context=_build_context(settings))
                if settings.smtp_user:
                    server.login(settings.smtp_user, _read_secret(settings.smtp_password_file))
                yield server
        except (OSError, smtplib.SMTPException) as error:
            raise AlertError(f"{self.where}: {_name(error)}") from error

    def _build(self) -> smtplib.SMTP:
        """Build the client, which would connect by itself, before its socket could be had, if it were told where."""
        settings = self._settings
        if settings.smtp_security == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(timeout=settings.timeout_s, context=_build_context(settings))
        else:
            server = smtplib.SMTP(timeout=settings.timeout_s)
        # The name that its certificate must hold.
        server._host = settings.smtp_host  # type: ignore[attr-defined]  # noqa: SLF001
        return server


@contextmanager
def _within(limit_s: float, server: HTTPConnection | smtplib.SMTP) -> Iterator[None]:
    """Break a connection off that has not come to its end in time; TimeoutError, whatever that looks like."""
    over, late = threading.Event(), threading.Event()

    def watch() -> None:
        if over.wait(limit_s):
            return
        late.set()
        while not over.wait(_LOOK_S):
            if server.sock is not None:
                with suppress(OSError):  # it is broken already
                    # Past TLS, which the other thread may be using.
                    socket.socket.shutdown(server.sock, socket.SHUT_RDWR)

    threading.Thread(target=watch, name="patience with a server", daemon=True).start()
    try:
        yield
    except (OSError, HTTPException):
        if late.is_set():
            raise TimeoutError from None
        raise
    finally:
        over.set()


def build_channels(settings: AlertSettings) -> tuple[Channel, ...]:
    """Build the channels that leave the node, as far as they are configured."""
    channels: list[Channel] = []
    if settings.webhook_url:
        channels.append(Webhook(settings))
    if settings.smtp_host:
        channels.append(Mail(settings))
    return tuple(channels)


def _build_context(settings: AlertSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=settings.ca or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _read_secret(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise AlertError(f"{path} cannot be read: {type(error).__name__}") from error


def _name(error: Exception) -> str:
    """Say what went wrong, without what a server says: it may quote the message or the login."""
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return "refuses the login"
    if isinstance(error, smtplib.SMTPResponseException):
        return f"answers {error.smtp_code}"
    # To smtplib a server that says nothing has hung up.
    if isinstance(error, TimeoutError) or isinstance(error.__context__, TimeoutError):
        return "does not answer in time"
    if isinstance(error, ssl.SSLError):
        return f"no TLS: {error.reason or error}"
    return getattr(error, "strerror", None) or type(error).__name__

"""What alerts are sent to, as tests need it: a web server and a mail server on 127.0.0.1, with TLS and login or not."""

import base64
import contextlib
import json
import socket
import ssl
import threading
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class WebhookServer:
    """Collects what is posted to it; answers `status`."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.posts: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.status = 204
        self.hold: threading.Event | None = None
        """Until it is set nothing is answered."""
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):  # http.server's word
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if owner.hold:
                    owner.hold.wait(60)
                if owner.status < 300:
                    owner.posts.append(json.loads(body))
                    owner.headers.append(dict(self.headers))
                self.send_response(owner.status)
                if 300 <= owner.status < 400:
                    self.send_header("Location", self.path)
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        if context:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class MailServer:
    """Takes mail (RFC 5321), with STARTTLS or TLS from the first byte, and with a login where it expects a password."""

    def __init__(
        self, context: ssl.SSLContext | None = None, *, implicit: bool = False, expects: str = "", refuses: str = ""
    ) -> None:
        self.mails: list[Any] = []
        self.commands: list[str] = []
        self._context, self._implicit, self._expects, self._refuses = context, implicit, expects, refuses
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with contextlib.suppress(OSError):
                if self._implicit:
                    connection = self._context.wrap_socket(connection, server_side=True)
                self._talk(connection)
            connection.close()

    def _talk(self, connection: socket.socket) -> None:
        connection.settimeout(20)
        is_secure, is_in = self._implicit, not self._expects
        connection.sendall(b"220 mail\r\n")
        file = connection.makefile("rb")
        while line := file.readline():
            command = line.decode().strip()
            verb = command.split(" ")[0].upper()
            self.commands.append(verb)
            if verb == "EHLO":
                offers = ["mail"] + (["STARTTLS"] if self._context and not is_secure else [])
                offers += ["AUTH PLAIN"] if self._expects else []
                lines = [f"250{'-' if number < len(offers) - 1 else ' '}{offer}" for number, offer in enumerate(offers)]
                connection.sendall("".join(f"{line}\r\n" for line in lines).encode())
            elif verb == "STARTTLS":
                connection.sendall(b"220 go\r\n")
                connection = self._context.wrap_socket(connection, server_side=True)
                file, is_secure = connection.makefile("rb"), True
            elif verb == "AUTH":
                given = base64.b64decode(command.split(" ")[2]).decode().split("\0")[2]
                is_in = given == self._expects
                connection.sendall(b"235 in\r\n" if is_in else b"535 no\r\n")
            elif verb == "DATA":
                connection.sendall(b"354 go on\r\n")
                content = b""
                while (part := file.readline()) != b".\r\n":
                    content += part
                self.mails.append(message_from_bytes(content, policy=policy.default))
                connection.sendall(b"250 taken\r\n")
            elif verb == "QUIT":
                connection.sendall(b"221 bye\r\n")
                break
            elif not is_in or (self._refuses and self._refuses in command):
                connection.sendall(b"550 no\r\n")
            else:
                connection.sendall(b"250 ok\r\n")
        file.close()
        connection.close()

"""The web process as an application without a socket, and browsers that are signed in to it."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from argon2 import PasswordHasher
from fastapi import FastAPI
from fastapi.testclient import TestClient

from dicom_node.settings import Destination, ModelSettings, NodeSettings, Sender, Settings, WebSettings
from dicom_node.store import Accounts, Store
from dicom_node.store.web_schema import web_sessions
from dicom_node.web import passwords
from dicom_node.web.application import build_app
from dicom_node.web.roles import Role
from dicom_node.web.secret_tokens import digest, draw_token
from dicom_node.web.sign_in import build_user

ADDRESS = "http://127.0.0.1:8080"
PASSWORD = "correct horse battery"  # noqa: S105  # of users that live as long as a test

SLOW_HASHER = passwords._HASHER  # noqa: SLF001  # the one that is used
FAST_HASHER = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)


def build_settings(folder: Path, *, bundles: Path | None = None, **web: Any) -> Settings:
    """Build the configuration of a node with two destinations; keywords are those of `[web]`."""
    return Settings(
        node=NodeSettings(ae_title="FRACTUREAI", data_dir=folder),
        senders=(Sender(ae_title="ORTHANC"),),
        destinations=tuple(
            Destination(name=name, ae_title="ORTHANC", host="127.0.0.1", port=4242) for name in ("archive", "second")
        ),
        web=WebSettings(**web),
        models=ModelSettings(bundles=bundles) if bundles else ModelSettings(),
    )


class Web:
    """The application on a store of its own."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        passwords._HASHER = FAST_HASHER  # noqa: SLF001  # a test signs in too often for the slow one
        self.store = Store(settings.database_url)
        self.accounts = Accounts(settings.database_url)
        self.app = build_app(settings, self.store, self.accounts)
        self.client = self.browser()

    def __enter__(self) -> Self:
        """Open it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.app.state.site.close()
        self.store.close()
        self.accounts.close()

    def browser(self) -> TestClient:
        """Return a browser that nobody is signed in with."""
        return TestClient(
            self.app,
            base_url=ADDRESS,
            follow_redirects=False,
            raise_server_exceptions=False,
            headers={"Accept": "text/html", "Origin": ADDRESS, "Sec-Fetch-Site": "same-origin"},
            client=("127.0.0.1", 50000),
        )

    def pass_time(self, seconds: float) -> None:
        """Let sessions be so much older."""
        with self.accounts._writing() as connection:  # noqa: SLF001  # as nothing but time does
            columns = {"begun_at": web_sessions.c.begun_at - seconds, "seen_at": web_sessions.c.seen_at - seconds}
            connection.execute(web_sessions.update().values(columns))

    def add_user(self, role: Role, name: str = "") -> str:
        """Add a user, named after the role unless told otherwise."""
        assert self.accounts.add_user(build_user(name or role, PASSWORD, role))
        return name or role

    def sign_in(self, role: Role) -> TestClient:
        """Return the browser of a new user of that role."""
        browser = self.browser()
        answer = browser.post("/login", data={"name": self.add_user(role), "password": PASSWORD})
        assert answer.status_code == 303
        return browser

    def token(self, role: Role) -> str:
        """Return the token of a program of a new user of that role."""
        token = draw_token()
        name = self.add_user(role, f"program.{role}")
        assert self.accounts.add_token(digest(token), name, "test")
        return token


def form_token(browser: TestClient, path: str = "/account") -> str:
    """Read the token of the forms of a page."""
    found = re.search(r'name="form_token" value="([0-9a-f]{64})"', browser.get(path).text)
    assert found
    return found[1]


def every_address(app: FastAPI) -> list[tuple[str, str]]:
    """List path and method of everything that the application answers."""
    found: list[tuple[str, str]] = []

    def walk(routes: Sequence[Any], prefix: str = "") -> None:
        for route in routes:
            inner = getattr(route, "original_router", None)
            if inner is not None:
                walk(inner.routes, prefix)
            elif hasattr(route, "path"):
                found.extend((prefix + route.path, one) for one in (getattr(route, "methods", None) or {"GET"}))

    walk(app.routes)
    return [(path, method) for path, method in found if method != "HEAD"]

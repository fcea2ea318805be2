"""A browser at the web process of a running node, over a real socket, which keeps what it was answered."""

import re
from typing import Any

import httpx

PASSWORD = "correct horse battery"  # noqa: S105  # of users that live as long as a test
_TITLE = re.compile(r"<title>.*?</title>", re.DOTALL)


class Visitor:
    """Signs in, and asks; `answers` collects what may hold no patient, by what was asked for."""

    def __init__(self, port: int, name: str, answers: dict[str, bytes]) -> None:
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120, headers={"Accept": "text/html"})
        self._name, self._answers = name, answers

    def close(self) -> None:
        self._client.close()

    def begin(self, token: str) -> None:
        """Become the first user."""
        words = {"token": token, "name": self._name, "password": PASSWORD, "repeated": PASSWORD}
        assert self._client.post("/first-run", data=words).status_code == 303

    def sign_in(self) -> None:
        assert self._client.post("/login", data={"name": self._name, "password": PASSWORD}).status_code == 303

    def fail(self, name: str, password: str) -> None:
        """Be refused; the answer must not repeat the password, nor the name."""
        answer = self._client.post("/login", data={"name": name, "password": password})
        assert answer.status_code in {401, 429}
        self._answers[f"{self._name}: refused {len(self._answers)}"] = answer.content

    def ask(self, method: str, path: str, *, sees_patients: bool = False, **options: Any) -> httpx.Response:
        """Ask; keep the whole answer, or only header and title where the page may show patients."""
        if method == "POST":
            options["data"] = {"form_token": self.form_token, **options.get("data", {})}
        answer = self._client.request(method, path, **options)
        header = str(answer.headers).encode()
        shown = "".join(_TITLE.findall(answer.text)).encode() if sees_patients else answer.content
        self._answers[f"{self._name}: {method} {len(self._answers)}"] = header + shown
        return answer

    @property
    def form_token(self) -> str:
        """The token of the forms of this session."""
        found = re.search(r'name="form_token" value="([0-9a-f]{64})"', self._client.get("/account").text)
        assert found
        return found[1]

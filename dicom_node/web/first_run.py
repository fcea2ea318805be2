"""The first user: made by whoever can read a file of the node, instead of a default password."""

from pathlib import Path

from dicom_node.durable import write_durably
from dicom_node.store import Accounts
from dicom_node.web.secret_tokens import draw_token, is_same


class FirstRun:
    """The token in the data folder, readable by the node's user only; gone once there is a user."""

    def __init__(self, path: Path, accounts: Accounts) -> None:
        self.path = path
        self._accounts = accounts

    def prepare(self) -> bool:
        """Draw the token where there is no user and none is drawn; tell whether it is waited for."""
        if self._accounts.users():
            self.finish()
            return False
        if not self.path.exists():
            write_durably(self.path, draw_token().encode() + b"\n")
        return True

    def accepts(self, token: str) -> bool:
        """Tell whether this is the token, and nobody has used it."""
        try:
            expected = self.path.read_text("ascii").strip()
        except OSError:
            return False
        return bool(expected) and is_same(token.strip(), expected) and not self._accounts.users()

    def finish(self) -> None:
        """Remove the token."""
        self.path.unlink(missing_ok=True)

"""One method for each thing the web process asks or says about its users."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import sqlalchemy as sa

from dicom_node.store.database import Database
from dicom_node.store.web_schema import web_attempts, web_sessions, web_tokens, web_users


@dataclass(frozen=True, kw_only=True)
class WebUser:
    """Who may see pages."""

    name: str
    role: str
    password_hash: str = field(repr=False)
    changed_at: float
    """When the password or the role was last set, Unix time in seconds."""


@dataclass(frozen=True, kw_only=True)
class WebToken:
    """What a program of a user may ask with; the token itself is not kept."""

    user: str
    label: str
    made_at: float


class Accounts(Database):
    """Users of the pages, their sessions, the tokens of their programs, and the passwords that were tried."""

    def users(self) -> list[WebUser]:
        """List the users by name."""
        with self._reading() as connection:
            rows = connection.execute(sa.select(web_users).order_by(web_users.c.name)).mappings()
            return [WebUser(**row) for row in rows]

    def find_user(self, name: str) -> WebUser | None:
        """Return a user; None where there is none of that name."""
        with self._reading() as connection:
            return _to_user(connection.execute(sa.select(web_users).where(web_users.c.name == name)))

    def add_user(self, user: WebUser, *, only_as_first: bool = False) -> bool:
        """Add a user; False where the name is taken or, as the first, where there are users already."""
        taken = sa.select(web_users.c.name)
        if not only_as_first:
            taken = taken.where(web_users.c.name == user.name)
        with self._writing() as connection:
            if connection.execute(taken.limit(1)).first() is not None:
                return False
            connection.execute(web_users.insert(), asdict(user))
            return True

    def change_user(self, name: str, **values: str) -> bool:
        """Set password hash or role, and end the user's sessions; False where there is no such user.

        With the password the tokens go: whoever knew the old one may have made one.
        """
        with self._writing() as connection:
            where = web_users.c.name == name
            found = connection.execute(web_users.update().where(where), {**values, "changed_at": time.time()})
            for table in (web_sessions, web_tokens) if "password_hash" in values else (web_sessions,):
                connection.execute(table.delete().where(table.c.user == name))
            return found.rowcount > 0

    def remove_user(self, name: str) -> bool:
        """Remove a user with sessions and tokens; False where there is no such user."""
        with self._writing() as connection:
            for table in (web_sessions, web_tokens):
                connection.execute(table.delete().where(table.c.user == name))
            return connection.execute(web_users.delete().where(web_users.c.name == name)).rowcount > 0

    # Sessions

    def begin_session(self, digest: str, user: str, now: float) -> None:
        """Begin a session, known by the digest of its secret."""
        row = {"digest": digest, "user": user, "begun_at": now, "seen_at": now}
        with self._writing() as connection:
            connection.execute(web_sessions.insert(), row)

    def find_session(self, digest: str, *, begun_after: float, seen_after: float) -> tuple[WebUser, float] | None:
        """Return the user of a session and when it was last seen; None where there is none that is still valid."""
        query = (
            sa.select(web_users, web_sessions.c.seen_at)
            .join(web_sessions, web_sessions.c.user == web_users.c.name)
            .where(
                web_sessions.c.digest == digest,
                web_sessions.c.begun_at > begun_after,
                web_sessions.c.seen_at > seen_after,
            )
        )
        with self._reading() as connection:
            row = connection.execute(query).mappings().first()
        if row is None:
            return None
        return WebUser(**{name: row[name] for name in WebUser.__dataclass_fields__}), row["seen_at"]

    def touch_session(self, digest: str, now: float) -> None:
        """Note that a session is in use."""
        with self._writing() as connection:
            connection.execute(web_sessions.update().where(web_sessions.c.digest == digest), {"seen_at": now})

    def end_session(self, digest: str) -> None:
        """End a session."""
        with self._writing() as connection:
            connection.execute(web_sessions.delete().where(web_sessions.c.digest == digest))

    def forget_sessions(self, *, begun_before: float, seen_before: float) -> None:
        """Forget the sessions that have ended by themselves."""
        ended = sa.or_(web_sessions.c.begun_at <= begun_before, web_sessions.c.seen_at <= seen_before)
        with self._writing() as connection:
            connection.execute(web_sessions.delete().where(ended))

    # Tokens of programs

    def add_token(self, digest: str, user: str, label: str) -> bool:
        """Add a token of a user; False where there is no such user, or it has one with that label."""
        mine = (web_tokens.c.user == user, web_tokens.c.label == label)
        row = {"digest": digest, "user": user, "label": label, "made_at": time.time()}
        with self._writing() as connection:
            known = connection.execute(sa.select(web_users.c.name).where(web_users.c.name == user)).first()
            if known is None or connection.execute(sa.select(web_tokens.c.label).where(*mine)).first() is not None:
                return False
            connection.execute(web_tokens.insert(), row)
            return True

    def tokens(self) -> list[WebToken]:
        """List the tokens by user and label."""
        columns = [web_tokens.c[name] for name in WebToken.__dataclass_fields__]
        with self._reading() as connection:
            rows = connection.execute(sa.select(*columns).order_by(web_tokens.c.user, web_tokens.c.label)).mappings()
            return [WebToken(**row) for row in rows]

    def find_token(self, digest: str) -> WebUser | None:
        """Return the user of a token; None where there is none."""
        query = sa.select(web_users).join(web_tokens, web_tokens.c.user == web_users.c.name)
        with self._reading() as connection:
            return _to_user(connection.execute(query.where(web_tokens.c.digest == digest)))

    def remove_token(self, user: str, label: str) -> bool:
        """Remove a token; False where there is none of that label."""
        mine = (web_tokens.c.user == user, web_tokens.c.label == label)
        with self._writing() as connection:
            return connection.execute(web_tokens.delete().where(*mine)).rowcount > 0

    # Passwords that are tried

    def begin_attempt(self, limits: Mapping[str, int], *, since: float, now: float) -> float | None:
        """Count one more attempt under each key, before the password is looked at.

        Returns None where it may go on; where a key has reached its limit, when the oldest of its attempts was begun.
        Counted first and taken back afterwards, so that attempts at the same time cannot exceed the limit.
        """
        with self._writing() as connection:
            connection.execute(web_attempts.delete().where(web_attempts.c.at <= since))
            for key, most in limits.items():
                query = sa.select(sa.func.count(), sa.func.min(web_attempts.c.at)).where(web_attempts.c.key == key)
                count, oldest = connection.execute(query).one()
                if count >= most:
                    return float(oldest)
            for key in limits:
                connection.execute(web_attempts.insert(), {"key": key, "at": now})
        return None

    def forgive_attempts(self, key: str, *, at: float) -> None:
        """Forget the attempts under a key, and whatever else was counted for the one begun `at`."""
        with self._writing() as connection:
            connection.execute(web_attempts.delete().where(sa.or_(web_attempts.c.key == key, web_attempts.c.at == at)))


def _to_user(result: sa.CursorResult[tuple[object, ...]]) -> WebUser | None:
    row = result.mappings().first()
    return None if row is None else WebUser(**row)

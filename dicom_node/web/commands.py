"""`dicom-node web-user` and `dicom-node web-token`: who may see the pages. Secrets are asked for, never arguments."""

import getpass
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dicom_node.audit import AuditEvent, PersonAction
from dicom_node.errors import NodeError
from dicom_node.operate.timeline import format_time
from dicom_node.operate.trail import note_here
from dicom_node.settings import load_settings
from dicom_node.web.roles import Role

if TYPE_CHECKING:
    from dicom_node.store import Accounts

users = typer.Typer(no_args_is_help=True, help="Add, change, remove and list the users of the pages.")
tokens = typer.Typer(no_args_is_help=True, help="Add, remove and list the tokens of programs that ask the web process.")

Config = Annotated[
    Path, typer.Option("--config", "-c", help="Configuration file.", envvar="DICOM_NODE_CONFIG", show_default=True)
]
Name = Annotated[str, typer.Argument(help="Name of the user.")]
Label = Annotated[str, typer.Argument(help="What the token is for.")]
_CONFIG = Path("config/node.toml")


class NoSuchUserError(NodeError):
    """There is no such user or token, or there is one already; the message says which."""


@users.command("add")
def add_user(
    name: Name, role: Annotated[Role, typer.Option(help="What the user may do.")], config: Config = _CONFIG
) -> None:
    """Add a user; the password is asked for, or is the first line of standard input.

    viewer: states, findings and deliveries, by UID, no patient. radiologist: also names, images, reports, upload.

    operator: also retries, completes, sends, has the doctor look. administrator: also adds and removes users.
    """
    from dicom_node.web.sign_in import build_user

    user = build_user(name, _ask_password(), role)
    with _accounts(config, PersonAction.ADD_USER, name, role=role) as accounts:
        if not accounts.add_user(user):
            raise NoSuchUserError(f"there is a user {name} already")


@users.command("password")
def set_password(name: Name, config: Config = _CONFIG) -> None:
    """Set a user's password, and end the user's sessions and tokens: whoever knew the old one may have made some."""
    from dicom_node.web.passwords import hash_password

    hashed = hash_password(_ask_password(), user=name)
    with _accounts(config, PersonAction.SET_PASSWORD, name) as accounts:
        _insist(accounts.change_user(name, password_hash=hashed), name)
    typer.echo(f"sessions and tokens of {name} have ended")


@users.command("role")
def set_role(
    name: Name, role: Annotated[Role, typer.Argument(help="What the user may do.")], config: Config = _CONFIG
) -> None:
    """Set what a user may do, and end the user's sessions; the user's tokens may do the same from now on."""
    with _accounts(config, PersonAction.SET_ROLE, name, role=role) as accounts:
        _insist(accounts.change_user(name, role=role), name)


@users.command("remove")
def remove_user(name: Name, config: Config = _CONFIG) -> None:
    """Remove a user; sessions and tokens end at once."""
    with _accounts(config, PersonAction.REMOVE_USER, name) as accounts:
        _insist(accounts.remove_user(name), name)


@users.command("list")
def list_users(config: Config = _CONFIG) -> None:
    """List the users, their roles, and when role or password was last set: a line each, with tabs between."""
    with _accounts(config) as accounts:
        for user in accounts.users():
            typer.echo(f"{user.name}\t{user.role}\t{format_time(user.changed_at)}")


@tokens.command("add")
def add_token(name: Name, label: Label, config: Config = _CONFIG) -> None:
    """Make a token with which a program may ask what its user may, and print it: this once.

    For a user of its own:  dicom-node web-token add script "nightly export"

    The program shows it in each request, in the header "Authorization: Bearer TOKEN"; see /openapi.json of the pages.
    """
    from dicom_node.web.secret_tokens import digest, draw_token

    token = draw_token()
    with _accounts(config, PersonAction.ADD_TOKEN, name) as accounts:
        if not accounts.add_token(digest(token), name, label):
            raise NoSuchUserError(f"there is no user {name}, or one with a token {label} already")
    typer.echo(token)


@tokens.command("remove")
def remove_token(name: Name, label: Label, config: Config = _CONFIG) -> None:
    """Remove a token; it is refused from now on."""
    with _accounts(config, PersonAction.REMOVE_TOKEN, name) as accounts:
        if not accounts.remove_token(name, label):
            raise NoSuchUserError(f"user {name} has no token {label}")


@tokens.command("list")
def list_tokens(config: Config = _CONFIG) -> None:
    """List whose tokens there are, what for, and when they were made, with tabs between; never the tokens."""
    with _accounts(config) as accounts:
        for token in accounts.tokens():
            typer.echo(f"{token.user}\t{token.label}\t{format_time(token.made_at)}")


@contextmanager
def _accounts(
    config: Path, action: PersonAction | None = None, subject: str = "", **facts: str
) -> Iterator["Accounts"]:
    from dicom_node.store import Accounts

    settings = load_settings(config)
    with closing(Accounts(settings.database_url)) as accounts:
        yield accounts
    if action:
        note_here(settings, AuditEvent.USER_ADMINISTRATION, action=action, subject=subject, **facts)


def _ask_password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != password:
        raise NodeError("the two passwords differ")
    return password


def _insist(found: bool, name: str) -> None:
    if not found:
        raise NoSuchUserError(f"there is no user {name}")

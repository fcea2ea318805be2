"""Command lines of `dicom-node` as texts name them, held against the commands that there are."""

import re

import typer.main

from dicom_node.cli import app

ROOT = typer.main.get_command(app)


class UnknownWordError(Exception):
    """There is no such command, or none of its options has that name."""


def follow(line):
    """Follow the words after `dicom-node` as far as they name commands, check the options, return the command.

    What comes after a command that has none of its own is whatever the user puts there.
    """
    command = ROOT
    for word in line.split():
        name = word.strip(".,;:()[]").partition("=")[0]
        if name.startswith("-") and name.strip("-"):
            if name not in options_of(command):
                raise UnknownWordError(f"{line}: {name}")
        elif hasattr(command, "commands") and re.fullmatch("[a-z][a-z-]*", name):
            if name not in command.commands:
                raise UnknownWordError(f"{line}: {name}")
            command = command.commands[name]
    return command


def options_of(command):
    """List the options of a command by all their names."""
    names = (name for one in command.params for name in (*one.opts, *one.secondary_opts))
    return {"--help", *(name for name in names if name.startswith("-"))}


def all_commands():
    """List every command with its words, groups and what is in them."""
    found = {}
    for name, command in ROOT.commands.items():
        found[name] = command
        found |= {f"{name} {inner}": one for inner, one in getattr(command, "commands", {}).items()}
    return found


def lines_in(text):
    """Find the command lines in a text: in code between backticks, and in lines of their own."""
    spans = re.findall(r"`(?:\.venv/bin/)?dicom-node ([^`]+)`", text)
    return spans + re.findall(r"^(?:[^`\n]*:  |(?:\.venv/bin/)?)dicom-node ([^`\n]+)$", text, re.MULTILINE)

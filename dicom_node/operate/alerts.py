"""`dicom-node alerts`: what is wrong now, who was told of it, and a message to try the channels with."""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict

from rich.console import Console

from dicom_node.alerts.alerting import send_test
from dicom_node.alerts.channels import build_channels
from dicom_node.alerts.conditions import Condition, find_conditions
from dicom_node.errors import AlertError
from dicom_node.operate.finding import Finding
from dicom_node.operate.status import describe_condition, has_run
from dicom_node.operate.terminal import print_entry
from dicom_node.settings import Settings
from dicom_node.store import AlertKey, Store, ToldAlert

_COLUMN = 8


def show_alerts(settings: Settings, *, as_json: bool) -> int:
    """Print what is wrong and which channel was told of it; return 0 only where a node has run, and nothing is."""
    store = Store(settings.database_url)
    conditions = find_conditions(settings, store, time.time())
    told = {channel.name: store.told_alerts(channel.name) for channel in build_channels(settings.alerts)}
    store.close()
    is_well = not conditions and has_run(settings)
    if as_json:
        content = [
            {**asdict(one), "told": [name for name, rows in told.items() if one.key in rows]} for one in conditions
        ]
        print(json.dumps(content, indent=2))  # noqa: T201  # the command's output
        return 0 if is_well else 1
    console = Console(highlight=False)
    for condition in conditions:
        lines = [*describe_condition(condition), _describe_told(condition, told)]
        print_entry(console, "ALARM", lines, style="bold red", column=_COLUMN)
    if is_well:
        console.print("nothing is wrong")
    return 0 if is_well else 1


def _describe_told(condition: Condition, told: dict[str, dict[AlertKey, ToldAlert]]) -> str:
    names = [name for name, rows in told.items() if condition.key in rows]
    if not told:
        return "nobody is told: [alerts] names neither a webhook nor a mail server"
    return f"told: {', '.join(names)}" if names else "nobody was told yet"


def try_channels(settings: Settings) -> int:
    """Send a message through each channel; return 1 where one did not take it, or there is none, else 0."""
    console = Console(highlight=False)
    channels = build_channels(settings.alerts)
    if not channels:
        console.print("[alerts] names neither a webhook nor a mail server", markup=False)
    failed = not channels
    for channel in channels:
        try:
            send_test(settings, channel)
        except AlertError as error:
            failed = True
            print_entry(console, "failed", [str(error)], style="red", column=_COLUMN)
        else:
            print_entry(console, "sent", [channel.where], style="green", column=_COLUMN)
    return 1 if failed else 0


def check_alerts(settings: Settings) -> Iterator[Finding]:
    """Check for the doctor that webhook and mail server can be reached, and take the login."""
    channels = build_channels(settings.alerts)
    if not channels:
        says = "nobody is told when something is wrong: `dicom-node status` shows it"
        yield Finding(subject="alerts", ok=True, says=says)
    for channel in channels:
        try:
            channel.check()
        except AlertError as error:
            yield Finding(subject="alerts", ok=False, says=str(error), remedy="check [alerts] and the server")
        else:
            says = f"{channel.where} can be reached; `dicom-node alerts test` sends a message"
            yield Finding(subject="alerts", ok=True, says=says)

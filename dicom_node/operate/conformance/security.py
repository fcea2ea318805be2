"""The configuration of the node as it is, and its security."""

from collections.abc import Iterator, Mapping

from dicom_node.operate.conformance.document import Section, Table
from dicom_node.settings import Rule, Settings

_TABLES = {
    "node", "senders", "destinations", "archives", "reconcile", "receive", "completion", "results", "retention",
    "audit",
}  # fmt: skip
"""Those that say something about DICOM; the others, such as `[database]`, may hold secrets, and `[[rules]]` names."""


def describe_configuration(settings: Settings) -> Section:
    """List the configuration: addresses, titles, limits (PS3.2 N.6)."""
    tables = settings.model_dump(mode="json", include=_TABLES, exclude_none=True)
    tables["rules"] = [_outline_rule(rule) for rule in settings.rules]
    rows = [row for name, table in tables.items() for row in _keys(name, table)]
    return Section(
        "Configuration",
        (
            "Units are in the names: _s seconds, _mb 1,000,000 bytes, _bytes bytes, _days days.",
            Table(("table", "key", "value"), rows),
        ),
    )


def _outline_rule(rule: Rule) -> dict[str, object]:
    """Leave out what a rule compares with: it may name a patient, and whoever may read this may see none."""
    keywords = list(dict.fromkeys(condition.keyword for condition in rule.when))
    return {"name": rule.name, "action": rule.action.value, "keywords": keywords}


def _keys(name: str, table: object) -> Iterator[tuple[str, str, str]]:
    """Give a table key by key, with the tables that a list of them holds."""
    if isinstance(table, list):
        for number, one in enumerate(table, start=1):
            yield from _keys(f"{name} {number}", one)
    elif isinstance(table, Mapping):
        yield from ((f"[{name}]", key, _write(value)) for key, value in table.items())


def _write(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(_write, value)) or "(none)"
    if isinstance(value, Mapping):
        return str(value.get("name") or " ".join(_write(one) for one in value.values()))
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value) or "(none)"


def describe_security(settings: Settings) -> Section:
    """Describe what protects the node's connections and records (PS3.2 N.8)."""
    tls, incoming = settings.tls, "without TLS: AE titles and addresses are checked alone"
    if tls is not None and settings.has_incoming_tls:
        incoming = f"with TLS {tls.minimum_version} or later alone; both sides show a certificate"
    outgoing = [one.name for one in settings.archives_by_name.values() if one.tls]
    audit = "JSON lines in the data folder"
    if settings.audit.syslog_host:
        how = "TLS (RFC 5425)" if settings.audit.tls else "UDP (RFC 5426)"
        audit += f", and DICOM audit messages (PS3.15 A.5) to {settings.audit.syslog_host} by {how}"
    rows = (
        ("Associations that are accepted", incoming),
        ("Associations that are requested", f"with TLS: {', '.join(outgoing) or 'none'}"),
        ("TLS profile", "BCP 195 RFC 8996, 9325 (PS3.15 B.12): TLS 1.2 with ECDHE and AES-GCM, or TLS 1.3"),
        ("Audit trail", audit),
        ("User identity negotiation, digital signatures, de-identification", "not supported"),
        ("Patient data", "in received files and results alone, readable by the node's user; none in logs"),
    )
    return Section("Security", (Table(("what", "how"), rows),))

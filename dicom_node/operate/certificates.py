"""What the doctor says of the files of `[tls]`: do they fit, until when, and who vouches for them."""

import contextlib
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dicom_node.errors import ConfigurationError
from dicom_node.operate.finding import Finding
from dicom_node.settings import Settings, TLSFiles
from dicom_node.tls import build_server_context, read_certificate

_EARLY_DAYS = 30
"""A certificate is to be renewed so long before it expires."""
_FLIGHTS = 4
"""More than a TLS handshake has."""


def check_certificates(settings: Settings) -> Iterator[Finding]:
    """Check the files of `[tls]`, and those that an archive has of its own."""
    known = dict.fromkeys([settings.tls, *(archive.tls for archive in settings.archives_by_name.values())])
    seen: set[tuple[Path, Path, Path]] = set()
    for files in known:
        if files is None or (paths := (files.certificate, files.key, files.ca)) in seen:
            continue
        seen.add(paths)
        try:
            context = build_server_context(files)
        except ConfigurationError as error:
            yield Finding(subject="certificate", ok=False, says=str(error), remedy="mend the file, or its key in [tls]")
            continue
        yield _check_certificate(files, context)
        yield from _check_authorities(files)


def _check_certificate(files: TLSFiles, context: ssl.SSLContext) -> Finding:
    context.verify_mode = ssl.CERT_NONE
    itself = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    itself.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    itself.load_verify_locations(cadata=read_certificate(files.certificate))
    try:
        shown = _shake_hands(context, itself)
    except ssl.SSLCertVerificationError as error:
        says = f"{files.certificate}: {error.verify_message}"
        return Finding(
            subject="certificate", ok=False, says=says, remedy=f"replace {files.certificate} and {files.key}"
        )
    says, is_late = _describe_validity(files.certificate, shown)
    authorities = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authorities.load_verify_locations(files.ca)
    try:
        _shake_hands(context, authorities)
    except ssl.SSLCertVerificationError:
        says += f"; nobody in {files.ca} vouches for it, so peers must know its authority from elsewhere"
    else:
        says += f"; {files.ca} vouches for it"
    return Finding(subject="certificate", ok=not is_late, says=says, remedy="renew it now" if is_late else "")


def _check_authorities(files: TLSFiles) -> Iterator[Finding]:
    for authority in ssl.create_default_context(cafile=files.ca).get_ca_certs():
        says, is_late = _describe_validity(files.ca, authority)
        if is_late:
            yield Finding(subject="authority", ok=False, says=says, remedy=f"add its successor to {files.ca}")


def _describe_validity(path: Path, certificate: Any) -> tuple[str, bool]:
    """Say until when a certificate is valid; the second value tells whether that is soon."""
    end = ssl.cert_time_to_seconds(certificate["notAfter"])
    names = ", ".join(f"{value}" for parts in certificate["subject"] for _, value in parts)
    day = time.strftime("%Y-%m-%d", time.gmtime(end))
    return f"{path}: {names}, valid until {day}", end < time.time() + _EARLY_DAYS * 86_400


def _shake_hands(server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> Any:
    """Let both meet in memory; return the server's certificate as the client has verified it."""
    client_context.check_hostname = False
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(_FLIGHTS):
        for side in (client, server):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
    return client.getpeercert()

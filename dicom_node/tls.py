"""DICOM TLS (PS3.15 B.12: BCP 195, RFC 8996, RFC 9325): both sides show a certificate, TLS 1.2 or 1.3, no weak cipher.

Files are read when a connection is made, so that a renewed certificate is used without a restart.
"""

import hashlib
import logging
import re
import ssl
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dicom_node.errors import AssociationError, ConfigurationError
from dicom_node.settings import Archive, TLSFiles
from inference.phrases import Phrase

_LOGGER = logging.getLogger(__name__)

_CIPHERS = "ECDHE+AESGCM:@SECLEVEL=2"
"""Those of TLS 1.2 that RFC 9325 4.2 recommends; TLS 1.3 has no others than good ones."""
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_NOT_FOR_OTHERS = 0o077
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def tls_args(archive: Archive) -> tuple[ssl.SSLContext, str] | None:
    """Return what `AE.associate` takes as `tls_args` for an archive: context and the name to check; None: no TLS.

    Raises
    ------
    AssociationError
        The files cannot be used now; once they are mended the next try may succeed.
    """
    if archive.tls is None:
        return None
    try:
        return build_client_context(archive.tls), archive.tls_name or archive.host
    except ConfigurationError as error:
        raise AssociationError(Phrase("{name}: {why}", name=archive.name, why=error.args[0])) from error


def check_files_of(archives: Iterable[Archive]) -> None:
    """Check at the start that there will be TLS where it is asked for.

    Raises
    ------
    ConfigurationError
        As `build_client_context`.
    """
    for archive in archives:
        if archive.tls is not None:
            build_client_context(archive.tls)


def build_client_context(files: TLSFiles) -> ssl.SSLContext:
    """Build the context of the side that connects: it checks the peer's certificate, and the name in it.

    Raises
    ------
    ConfigurationError
        A file is missing, open to others, or not what it should be; the message names key and file.
    """
    return _load(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), files)


def build_server_context(files: TLSFiles) -> ssl.SSLContext:
    """Build the context of the side that listens: it asks every peer for a certificate.

    Raises
    ------
    ConfigurationError
        As `build_client_context`.
    """
    context = _load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), files)
    context.verify_mode = ssl.CERT_REQUIRED
    # A session that is taken up again would not show its certificate again, which may have expired by then.
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.num_tickets = 0
    return context


def read_certificate(path: Path) -> str:
    """Return the first certificate of a PEM file: the owner's, before those that vouch for it; OSError as `open`."""
    found = _CERTIFICATE.search(path.read_text(encoding="latin-1"))
    return found[0] if found else ""


def _load(context: ssl.SSLContext, files: TLSFiles) -> ssl.SSLContext:
    context.minimum_version = _VERSIONS[files.minimum_version]
    context.set_ciphers(_CIPHERS)
    _check_key(files.key)
    for key, path in (("certificate", files.certificate), ("ca", files.ca)):
        _read(key, path)
    try:
        # The password is never asked for: no terminal is there to answer.
        context.load_cert_chain(files.certificate, files.key, password="")
    except ssl.SSLError as error:
        what: str = Phrase("and {key} are no pair of certificate and key", key=str(files.key))
        raise _wrong("certificate", files.certificate, what) from error
    try:
        context.load_verify_locations(files.ca)
    except ssl.SSLError as error:
        raise _wrong("ca", files.ca, Phrase("holds no certificate in PEM")) from error
    return context


def _check_key(path: Path) -> None:
    content = _read("key", path)
    if path.stat().st_mode & _NOT_FOR_OTHERS:
        what: str = Phrase("can be read by others than its owner; chmod 600 {path}", path=str(path))
        raise _wrong("key", path, what)
    if b"ENCRYPTED" in content:
        what = Phrase("is encrypted, so that the node could not start by itself; store it without a password")
        raise _wrong("key", path, what)


def _read(key: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _wrong(key, path, Phrase("cannot be read: {why}", why=error.strerror or "")) from error


def _wrong(key: str, path: Path, what: str) -> ConfigurationError:
    said = Phrase("table [tls], key '{key}': {path} {what}", key=key, path=str(path), what=what)
    return ConfigurationError(said)


class ServerTLS:
    """The listening side's context, built anew when one of its files has changed."""

    def __init__(self, files: TLSFiles) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._stamp = _stamp(files)
        self._context = build_server_context(files)

    @property
    def context(self) -> ssl.SSLContext:
        """The context for the next handshake; where changed files are of no use, the one before stays."""
        with self._lock:
            stamp = _stamp(self._files)
            if stamp != self._stamp:
                self._stamp = stamp
                try:
                    self._context = build_server_context(self._files)
                    _LOGGER.info(
                        "the certificate has changed: new connections are met with %s", self._files.certificate
                    )
                except ConfigurationError as error:
                    # Certificate and key are replaced one after the other: between the two they do not match.
                    _LOGGER.warning("the certificate in use stays: %s", error)
            return self._context


def _stamp(files: TLSFiles) -> list[tuple[int, ...]]:
    """Say what would differ if a file had been written or replaced."""
    stamp: list[tuple[int, ...]] = []
    for path in (files.certificate, files.key, files.ca):
        try:
            state = path.stat()
        except OSError:
            stamp.append(())
        else:
            stamp.append((state.st_mtime_ns, state.st_ctime_ns, state.st_size, state.st_ino))
    return stamp


@dataclass(frozen=True, kw_only=True)
class PeerCertificate:
    """The certificate that a peer has shown."""

    subject: str
    """RFC 4514, the most specific part first: CN=pacs,O=Hospital."""
    sha256: str
    """Fingerprint, 64 hexadecimal digits."""

    def is_named(self, certificate: str) -> bool:
        """Tell whether this is the certificate of that fingerprint or subject."""
        return certificate in {self.sha256, self.subject}


def read_peer_certificate(connection: ssl.SSLSocket) -> PeerCertificate:
    """Read what the peer has shown, after a handshake that asked for it."""
    shown = connection.getpeercert() or {}
    content = connection.getpeercert(binary_form=True) or b""
    return PeerCertificate(
        subject=_format_subject(shown.get("subject", ())), sha256=hashlib.sha256(content).hexdigest()
    )


_SHORT = {
    "commonName": "CN",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "streetAddress": "STREET",
    "domainComponent": "DC",
    "userId": "UID",
}
"""The names of attributes that RFC 4514 3 abbreviates."""


def _format_subject(subject: object) -> str:
    parts = [
        "+".join(f"{_SHORT.get(name, name)}={_escape(value)}" for name, value in names)
        for names in subject  # type: ignore[attr-defined]  # tuples of tuples of pairs, which typeshed does not say
    ]
    return ",".join(reversed(parts))


def _escape(value: str) -> str:
    """Escape what has a meaning in a name (RFC 4514 2.4)."""
    escaped = "".join(f"\\{one}" if one in '"+,;<>\\' else one for one in value)
    if escaped[:1] in {" ", "#"}:
        escaped = f"\\{escaped}"
    return f"{escaped[:-1]}\\ " if len(value) > 1 and escaped.endswith(" ") else escaped

"""Certificates as a hospital's authority would issue them, by the openssl program; none is in the repository."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from dicom_node.settings import TLSSettings

_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


@dataclass(frozen=True)
class Identity:
    """A certificate and its key."""

    certificate: Path
    key: Path

    @property
    def subject(self) -> str:
        return self._ask("-subject", "-nameopt", "RFC2253").removeprefix("subject=")

    @property
    def fingerprint(self) -> str:
        """SHA-256, as `openssl x509 -fingerprint -sha256` prints it: with colons."""
        return self._ask("-fingerprint", "-sha256").partition("=")[2]

    def _ask(self, *options: str) -> str:
        command = ["openssl", "x509", "-in", str(self.certificate), "-noout", *options]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


class Authority:
    """Issues certificates into a folder."""

    def __init__(self, folder: Path, name: str = "authority", *, days: int = 30) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.certificate, self._key = folder / f"{name}.pem", folder / f"{name}.key"
        _openssl(
            *("req", "-x509", *_NEW_KEY, "-days", str(days), "-subj", f"/O=Hospital/CN={name}"),
            *("-keyout", str(self._key), "-out", str(self.certificate)),
        )

    def issue(self, name: str, *, days: int = 30, address: str = "127.0.0.1") -> Identity:
        """Issue a certificate for O=Hospital, CN=`name` at an address; with `days` below zero it has expired."""
        certificate, key, request = (self.folder / f"{name}{suffix}" for suffix in (".pem", ".key", ".csr"))
        extensions = self.folder / "extensions"
        extensions.write_text(f"subjectAltName=IP:{address}\nbasicConstraints=critical,CA:FALSE\n")
        _openssl("req", "-new", *_NEW_KEY, "-subj", f"/O=Hospital/CN={name}", "-keyout", str(key), "-out", str(request))
        _openssl(
            *("x509", "-req", "-in", str(request), "-CA", str(self.certificate), "-CAkey", str(self._key)),
            *("-CAcreateserial", "-days", str(days), "-extfile", str(extensions), "-out", str(certificate)),
        )
        return Identity(certificate, key)

    def settings(self, identity: Identity, **options: object) -> TLSSettings:
        """Build `[tls]` for who has this certificate and trusts this authority."""
        files = {"certificate": identity.certificate, "key": identity.key, "ca": self.certificate}
        return TLSSettings.model_validate({**files, **options})


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)

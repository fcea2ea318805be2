import ipaddress
from pathlib import Path

import pytest
from certificates import Authority, Identity

from dicom_node.operate.certificates import check_certificates
from dicom_node.operate.finding import Finding
from dicom_node.settings import Destination, NodeSettings, Sender, Settings, TLSFiles, TLSSettings


def check(tls: TLSSettings, *archives: TLSFiles) -> list[Finding]:
    settings = Settings(
        node=NodeSettings(ae_title="NODE"),
        tls=tls,
        senders=(Sender(ae_title="PACS", networks=(ipaddress.ip_network("127.0.0.0/8"),)),),
        destinations=tuple(
            Destination(name=f"a{number}", ae_title="A", host="127.0.0.1", port=104, tls=files)
            for number, files in enumerate(archives or (None,))
        ),
    )
    return list(check_certificates(settings))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "tls", days=400)


def test_a_certificate_in_order_is_named_with_its_last_day_and_who_vouches_for_it(authority: Authority) -> None:
    (finding,) = check(authority.settings(authority.issue("node", days=90)))
    assert finding.ok
    assert "node.pem: Hospital, node, valid until 20" in finding.says
    assert "authority.pem vouches for it" in finding.says


def test_files_are_checked_once_whoever_uses_them(authority: Authority) -> None:
    tls = authority.settings(authority.issue("node", days=90))
    same, own = (
        authority.settings(authority.issue("node", days=90)),
        authority.settings(authority.issue("other", days=90)),
    )
    assert len(check(tls, same, own)) == 2


@pytest.mark.parametrize(("days", "said"), [(-1, "certificate has expired"), (10, "valid until")])
def test_a_certificate_is_to_be_renewed_before_it_expires(authority: Authority, days: int, said: str) -> None:
    (finding,) = check(authority.settings(authority.issue("node", days=days)))
    assert not finding.ok
    assert said in finding.says
    assert finding.remedy


def test_an_authority_that_ends_soon_is_named(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "old authority", days=10)
    identity = authority.issue("node", days=90)
    assert [(finding.subject, finding.ok) for finding in check(authority.settings(identity))] == [
        ("certificate", True),
        ("authority", False),
    ]


def test_a_certificate_that_no_authority_of_the_file_vouches_for_is_said_to_be_one(
    authority: Authority, tmp_path: Path
) -> None:
    other = Authority(tmp_path / "other", days=400)
    (finding,) = check(authority.settings(other.issue("node", days=90)))
    assert finding.ok
    assert "nobody in" in finding.says


def test_a_key_that_does_not_fit_is_wrong(authority: Authority) -> None:
    node, other = authority.issue("node"), authority.issue("other")
    (finding,) = check(authority.settings(Identity(node.certificate, other.key)))
    assert not finding.ok
    assert "no pair of certificate and key" in finding.says

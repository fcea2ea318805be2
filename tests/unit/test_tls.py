import ssl
from pathlib import Path

import pytest
from certificates import Authority, Identity

from dicom_node.errors import AssociationError, ConfigurationError
from dicom_node.settings import Archive
from dicom_node.tls import PeerCertificate, _format_subject, build_client_context, build_server_context, tls_args


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def node(authority: Authority) -> Identity:
    return authority.issue("node")


def test_both_sides_ask_for_a_certificate_and_only_the_one_that_connects_checks_a_name(
    authority: Authority, node: Identity
) -> None:
    server, client = (build(authority.settings(node)) for build in (build_server_context, build_client_context))
    assert server.verify_mode is client.verify_mode is ssl.CERT_REQUIRED
    assert client.check_hostname
    assert server.minimum_version is client.minimum_version is ssl.TLSVersion.TLSv1_2
    assert (
        build_server_context(authority.settings(node, minimum_version="1.3")).minimum_version is ssl.TLSVersion.TLSv1_3
    )


def test_only_ciphers_of_bcp_195_are_offered(authority: Authority, node: Identity) -> None:
    names = {cipher["name"] for cipher in build_client_context(authority.settings(node)).get_ciphers()}
    assert all(name.startswith("TLS_") or (name.startswith("ECDHE-") and "-GCM-" in name) for name in names)
    assert "ECDHE-RSA-AES128-GCM-SHA256" in names


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_can_read_is_refused(authority: Authority, node: Identity, mode: int) -> None:
    node.key.chmod(mode)
    with pytest.raises(ConfigurationError, match=r"table \[tls\], key 'key': .*node.key can be read by others"):
        build_server_context(authority.settings(node))
    node.key.chmod(0o400)
    build_server_context(authority.settings(node))


def test_files_that_are_of_no_use_are_named_with_their_key(
    authority: Authority, node: Identity, tmp_path: Path
) -> None:
    empty = tmp_path / "empty.pem"
    empty.touch(mode=0o600)
    for key, path, said in (
        ("certificate", tmp_path / "absent.pem", "cannot be read"),
        ("key", tmp_path / "absent.key", "cannot be read"),
        ("ca", tmp_path / "absent.pem", "cannot be read"),
        ("certificate", empty, "no pair of certificate and key"),
        ("certificate", authority.certificate, "no pair of certificate and key"),
        ("ca", empty, "holds no certificate"),
    ):
        with pytest.raises(ConfigurationError) as caught:
            build_client_context(authority.settings(node, **{key: path}))
        assert f"key {key!r}: {path} " in str(caught.value)
        assert said in str(caught.value)


def test_an_encrypted_key_is_refused_instead_of_asking_for_its_password(
    authority: Authority, node: Identity, tmp_path: Path
) -> None:
    encrypted = tmp_path / "encrypted.key"
    encrypted.write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
    encrypted.chmod(0o600)
    with pytest.raises(ConfigurationError, match="is encrypted"):
        build_client_context(authority.settings(node, key=encrypted))


def test_an_archive_is_known_by_its_host_or_by_the_name_that_is_configured(
    authority: Authority, node: Identity, tmp_path: Path
) -> None:
    archive = Archive(name="archive", ae_title="A", host="pacs.example", port=2762)
    assert tls_args(archive) is None
    secure = archive.model_copy(update={"tls": authority.settings(node)})
    assert tls_args(secure)[1] == "pacs.example"  # type: ignore[index]  # it is not None
    assert tls_args(secure.model_copy(update={"tls_name": "pacs"}))[1] == "pacs"  # type: ignore[index]  # likewise
    broken = secure.model_copy(update={"tls": authority.settings(node, key=tmp_path / "absent.key")})
    with pytest.raises(AssociationError, match=r"archive: table \[tls\], key 'key'"):
        tls_args(broken)


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        (((("organizationName", "Hospital"),), (("commonName", "pacs"),)), "CN=pacs,O=Hospital"),
        (((("commonName", "a"), ("organizationalUnitName", "b")),), "CN=a+OU=b"),
        (((("commonName", "Smith, John"),),), "CN=Smith\\, John"),
        (((("commonName", "#a "),),), "CN=\\#a\\ "),
        ((), ""),
    ],
)
def test_subjects_are_written_as_rfc_4514_says(subject: object, expected: str) -> None:
    assert _format_subject(subject) == expected


def test_a_certificate_is_named_by_its_subject_or_its_fingerprint() -> None:
    certificate = PeerCertificate(subject="CN=pacs,O=Hospital", sha256="ab" * 32)
    assert certificate.is_named("CN=pacs,O=Hospital")
    assert certificate.is_named("ab" * 32)
    assert not certificate.is_named("CN=pacs")

from pathlib import Path

import pytest

from dicom_node.errors import ConfigurationError
from dicom_node.settings import load_settings

CONFIG = Path(__file__).resolve().parents[2] / "config" / "node.toml"


def load_with(tmp_path, old, new):
    text = CONFIG.read_text()
    assert old in text
    path = tmp_path / "node.toml"
    path.write_text(text.replace(old, new, 1))
    return load_settings(path)


def test_the_shipped_configuration_loads():
    settings = load_settings(CONFIG)
    assert settings.node.ae_title == "FRACTUREAI"
    assert [sender.ae_title for sender in settings.senders] == ["ORTHANC"]
    assert (settings.completion.quiet_s, settings.completion.max_wait_s) == (10, 900)


def test_every_default_shown_in_the_shipped_configuration_is_the_default(tmp_path):
    shown = CONFIG.read_text().replace('# bundles = "models/bundles"', "")
    lines = [
        line.removeprefix("# ") if line.startswith("# ") and " = " in line else line for line in shown.splitlines()
    ]
    lines = [line for line in lines if not line.startswith("networks")]
    path = tmp_path / "node.toml"
    path.write_text("\n".join(lines))
    assert load_settings(path) == load_settings(CONFIG)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("quiet_s = 10 ", "quiet_seconds = 10 ", "table [completion], key 'quiet_seconds'"),
        ('name = "archive"', 'nam = "archive"', "table [[destinations]] number 1, key 'name'"),
        ("port = 11112", "port = 70000", "table [node], key 'port'"),
        ('ae_title = "FRACTUREAI"', 'ae_title = "A_TITLE_THAT_IS_TOO_LONG"', "table [node], key 'ae_title'"),
        ('ae_title = "FRACTUREAI"', "ae_title = 'BACK\\SLASH'", "table [node], key 'ae_title'"),
        ("[web]", "[website]", "table [website]"),
        ("max_wait_s = 900", "max_wait_s = 9", "max_wait_s must not be shorter"),
        ('# networks = ["192.0.2.0/24"]', 'networks = ["nowhere"]', "table [[senders]] number 1, key 'networks.0'"),
        ("port = 11112", "port =", "is not TOML"),
        ('# url = ""', 'url = "nonsense"', "table [database], key 'url': is no SQLAlchemy URL"),
        (
            '# url = ""',
            'url = "postgresql://node:secret@h:port/d"',
            "table [database], key 'url': is no SQLAlchemy URL",
        ),
        ('# url = ""', 'url = "mysql://node:secret@h/d"', "table [database], key 'url': names mysql; only sqlite"),
        ('# url = ""', 'url = "sqlite+absent:///d"', "table [database], key 'url': needs a driver for sqlite+absent"),
        ('# url = ""', 'url = "sqlite://"', "table [database], key 'url': must name a file"),
        ('# workflow_url = ""', 'workflow_url = "nonsense"', "table [database], key 'workflow_url'"),
        ("quiet_s = 10 ", "quiet_s = inf ", "table [completion], key 'quiet_s': must be a number that is not inf"),
        ("max_wait_s = 900", "max_wait_s = nan", "table [completion], key 'max_wait_s': must be a number that is not"),
        ("# maximum_object_mb = 512", "maximum_object_mb = inf", "table [receive], key 'maximum_object_mb': must be"),
        ("quiet_s = 10 ", 'quiet_s = "10" ', "table [completion], key 'quiet_s': must be a number, without quotes"),
        ("port = 4242", 'port = "4242"', "table [[destinations]] number 1, key 'port': must be a whole number"),
        (
            "port = 4242",
            'port = 4242\nresults = ["report"]',
            "table [[destinations]] number 1, key 'results': must hold \"secondary capture\"",
        ),
        (
            "port = 4242",
            'port = 4242\nresults = ["secondary capture", "sr"]',
            "table [[destinations]] number 1, key 'results.1'",
        ),
        ("port = 4242", "port = true", "table [[destinations]] number 1, key 'port': must be a whole number"),
        ('# when_header_disagrees = "trust pixels"', 'when_header_disagrees = "trust me"', "'when_header_disagrees'"),
        ("# pin_to_cores = true", 'pin_to_cores = "yes"', "table [receive], key 'pin_to_cores': must be true or false"),
        ("# port = 8080", "port = 11112", "table [web], key 'port': is the port of [node] too"),
        ('# host = "127.0.0.1"\n# port = 8080', 'host = "0.0.0.0"\nport = 11112', "table [web], key 'port'"),
        (
            'host = "127.0.0.1" ',
            'host = "0.0.0.0" ',
            "[[senders]] number 1, key 'networks': is required where [node] host",
        ),
        ("# networks", 'certificate = "CN=pacs"\n#', "[[senders]] number 1, key 'certificate': is never seen without"),
        (
            "# networks",
            'certificate = "12:34"\n#',
            "table [[senders]] number 1, key 'certificate': is neither a SHA-256",
        ),
        ("port = 4242", "port = 4242\ntls = true", "table [destinations], key 'tls': needs the table [tls]"),
        ("port = 4242", "port = 4242\ntls = 1", "table [[destinations]] number 1, key 'tls': must be true or false"),
        ("#[tls]", "[tls]", "table [tls], key 'certificate': is required"),
        (
            '# webhook_url = ""',
            'webhook_url = "ftp://h"',
            "table [alerts], key 'webhook_url': is no http:// or https://",
        ),
        ('# webhook_url = ""', 'webhook_url = "https://u:secret@h"', "table [alerts], key 'webhook_url'"),
        (
            '# webhook_url = ""',
            'webhook_url = "http://h"\nwebhook_token_file = "t"\n',
            "[alerts], key 'webhook_token_file': needs an https://",
        ),
        ('# smtp_host = ""', 'smtp_host = "h"', "table [alerts], key 'smtp_host': needs mail_from and mail_to"),
        ('# smtp_user = ""', 'smtp_user = "u"', "table [alerts], key 'smtp_user': belongs together with"),
        ("# mail_to = []", 'mail_to = ["a@b"]', "table [alerts], key 'mail_to': needs smtp_host"),
        ("# syslog_port = 0", "syslog_port = 514", "table [audit], key 'syslog_host': is required with"),
        (
            "# Where results go.",
            'archive = "archive"\n[[senders]]\nae_title = "ORTHANC"\narchive = "other"\n#',
            "table [[senders]] number 2, key 'archive': another sender ORTHANC has 'archive'",
        ),
        ("[[senders]]", "[senders]", "table [senders]: must be a list"),
        ('# networks = ["192.0.2.0/24"]', 'networks = ["192.0.2.7/24"]', "'networks.0': is no address, nor a network"),
        ("# mail_to = []", 'mail_to = ["a@b, c@d"]', "table [alerts], key 'mail_to.0'"),
        ('host = "127.0.0.1" ', 'host = " " ', "table [node], key 'host': must not be empty"),
    ],
)
def test_a_wrong_configuration_is_refused_with_file_table_and_key(tmp_path, old, new, named):
    with pytest.raises(ConfigurationError) as caught:
        load_with(tmp_path, old, new)
    assert named in str(caught.value)
    assert str(tmp_path / "node.toml") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_second_destination_of_the_same_name_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match=r"node.toml: table \[\[destinations\]\], key 'name': two"):
        load_with(
            tmp_path,
            "# When a study",
            '[[destinations]]\nname = "archive"\nae_title = "B"\nhost = "b"\nport = 104\n# When a study',
        )


TLS = '[tls]\ncertificate = "a.pem"\nkey = "a.key"\nca = "ca.pem"\n'


def test_the_files_of_tls_go_to_every_archive_that_asks_for_them(tmp_path):
    more = '[[destinations]]\nname = "plain"\nae_title = "B"\nhost = "b"\nport = 104\ntls = false\n'
    settings = load_with(tmp_path, "port = 4242", f'port = 4242\ntls = true\ntls_name = "pacs"\n{TLS}{more}')
    secure, plain = settings.destinations
    assert (secure.tls.certificate, secure.tls.key, secure.tls.ca) == (Path("a.pem"), Path("a.key"), Path("ca.pem"))
    assert plain.tls is None
    assert settings.has_incoming_tls
    assert not load_with(tmp_path, "#[tls]", f"{TLS}incoming = false").has_incoming_tls


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# networks", 'networks = ["10.0.0.0/8"]\n#'),
        ("# networks", 'networks = ["0.0.0.0/0", "::/0"]\n#'),
        ("#[tls]", TLS),
    ],
)
def test_a_node_that_is_reached_from_elsewhere_knows_its_senders_by_more_than_a_title(tmp_path, old, new):
    text = CONFIG.read_text().replace('host = "127.0.0.1" ', 'host = "192.0.2.7" ', 1)
    path = tmp_path / "node.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match="a title is a mere claim"):
        load_settings(path)
    path.write_text(text.replace(old, new, 1))
    assert load_settings(path).node.host == "192.0.2.7"


def test_node_and_web_may_have_one_port_on_different_addresses(tmp_path):
    settings = load_with(tmp_path, '# host = "127.0.0.1"\n# port = 8080', 'host = "127.0.0.2"\nport = 11112')
    assert settings.web.port == settings.node.port


@pytest.mark.parametrize("url", ["sqlite:///node.sqlite", "sqlite+pysqlite:////var/lib/node.sqlite"])
def test_a_database_of_ones_own_is_taken(tmp_path, url):
    assert load_with(tmp_path, '# url = ""', f'url = "{url}"').database_url == url


def test_whole_seconds_and_fractions_of_seconds_are_numbers(tmp_path):
    assert load_with(tmp_path, "quiet_s = 10 ", "quiet_s = 2.5 ").completion.quiet_s == 2.5


@pytest.mark.parametrize("table", ["senders", "destinations"])
def test_an_empty_list_is_refused(tmp_path, table):
    lines = []
    skipping = False
    for line in CONFIG.read_text().splitlines():
        skipping = line.startswith(f"[[{table}]]") or (skipping and not line.startswith("["))
        lines += [] if skipping else [line]
    path = tmp_path / "node.toml"
    path.write_text(f"{table} = []\n" + "\n".join(lines))
    with pytest.raises(ConfigurationError, match="must not be empty"):
        load_settings(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"absent.toml: cannot be read"):
        load_settings(tmp_path / "absent.toml")


def test_a_destination_may_name_who_answers_its_questions(tmp_path):
    before, archives, after = CONFIG.read_text().partition("#[[archives]]")
    block, end, after = after.partition("\n\n")
    shown = before + (archives + block).replace("\n#", "\n").removeprefix("#") + end + after
    shown = shown.replace('# verify_at = ""', 'verify_at = "queries"')
    path = tmp_path / "node.toml"
    path.write_text(shown)
    (destination,) = load_settings(path).destinations
    assert (destination.verify_archive.ae_title, destination.verify_archive.name) == ("PACS_QR", "queries")
    assert destination.commitment_archive is destination
    path.write_text(shown.replace('verify_at = "queries"', 'verify_at = "query"'))
    with pytest.raises(ConfigurationError, match="key 'verify_at': no \\[\\[archives\\]\\] has the name 'query'"):
        load_settings(path)

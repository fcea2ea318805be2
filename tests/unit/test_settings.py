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
    ],
)
def test_a_wrong_configuration_is_refused_with_file_table_and_key(tmp_path, old, new, named):
    with pytest.raises(ConfigurationError) as caught:
        load_with(tmp_path, old, new)
    assert named in str(caught.value)
    assert str(tmp_path / "node.toml") in str(caught.value)
    assert "\n" not in str(caught.value)


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

import pytest

from dicom_node.errors import ConfigurationError
from dicom_node.settings import load_settings

MINIMAL = """
[node]
ae_title = "NODE"
[[destinations]]
name = "archive"
ae_title = "A"
host = "127.0.0.1"
port = 4242
"""
OTHER = '[[archives]]\nname = "{name}"\nae_title = "Q"\nhost = "127.0.0.1"\nport = 4243\n'


@pytest.fixture
def load(tmp_path):
    def load_text(text, *, sender=""):
        path = tmp_path / "node.toml"
        path.write_text(f'{MINIMAL}\n[[senders]]\nae_title = "A"\n{sender}\n{text}')
        return load_settings(path)

    return load_text


def test_no_archive_is_asked_and_none_is_searched_by_default(load):
    settings = load("")
    assert (settings.archives_by_sender, settings.reconcile) == ({}, None)


def test_a_sender_names_a_destination_or_an_archive_that_gets_no_results(load):
    settings = load(OTHER.format(name="queries"), sender='archive = "queries"')
    assert settings.archives_by_name[settings.archives_by_sender["A"]].ae_title == "Q"
    assert [destination.name for destination in settings.destinations] == ["archive"]
    assert load("", sender='archive = "archive"').archives_by_sender == {"A": "archive"}


@pytest.mark.parametrize(
    ("text", "sender", "sentence"),
    [
        ("", 'archive = "pacs"', "table [[senders]], key 'archive': no [[destinations]] or [[archives]] has"),
        ('[reconcile]\narchives = ["pacs"]', "", "table [reconcile], key 'archives': no [[destinations]] or"),
        ("[reconcile]\narchives = []", "", "table [reconcile], key 'archives': must not be empty"),
        ("[reconcile]\nevery_s = 5", "", "table [reconcile], key 'archives': is required"),
        (OTHER.format(name="archive"), "", "table [[archives]], key 'name': another archive or destination"),
        ('[completion]\nmodalities = ["x-ray"]', "", "table [completion], key 'modalities.0'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_sentence(load, text, sender, sentence):
    with pytest.raises(ConfigurationError) as raised:
        load(text, sender=sender)
    assert sentence in str(raised.value)

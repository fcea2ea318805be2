"""Every text of results and pages in every language: none missing, its places kept, and all of it printable."""

import ast
import pickle
import re
import socket
import tomllib
from pathlib import Path
from string import Formatter

import numpy as np
import pytest
from babel.messages.extract import extract
from babel.messages.pofile import read_po
from pynetdicom.pdu_primitives import A_ASSOCIATE

from dicom_node import languages
from dicom_node.analyse.shared_memory import load_guarded
from dicom_node.assemble.rules import Outcome
from dicom_node.deliver import verify_destination
from dicom_node.encode.report.typesetting import BOLD, SANS, split_runs
from dicom_node.errors import AssociationError
from dicom_node.languages import ENGLISH, LANGUAGES, load_language
from dicom_node.settings import Destination
from dicom_node.storage_commitment import FAILURE_REASONS
from dicom_node.store import RECEIVING, DeliveryState, RevisionState
from dicom_node.web.roles import Role
from inference.phrases import Phrase, format_label
from inference.types import Decision

ROOT = Path(__file__).resolve().parents[2]
CATALOGUES = Path(languages.__file__).parent
OTHERS = [code for code in LANGUAGES if code != "en"]
KEYWORDS = {
    **dict.fromkeys(("say", "Phrase", "UndecodableImageError", "UnsupportedImageError", "undecodable", "Cage", "_say")),
    "count": (1, 2),
}
TEMPLATES = sorted((ROOT / "dicom_node" / "web" / "templates").glob("*.html"))
SOURCES = [file for root in ("dicom_node", "inference") for file in sorted((ROOT / root).rglob("*.py"))]


@pytest.fixture(scope="module")
def texts():
    """What the source says, singular and plural of what is counted."""
    found = set()
    for method, files in (("python", SOURCES), ("jinja2.ext.babel_extract", TEMPLATES)):
        for file in files:
            with file.open("rb") as source:
                found |= {text for _, text, _, _ in extract(method, source, keywords=KEYWORDS) if text}
    assert len(found) > 400
    return found


def read(code):
    with (CATALOGUES / f"{code}.po").open("rb") as file:
        return {entry.id: entry for entry in read_po(file, abort_invalid=True) if entry.id}


def forms(text):
    return text if isinstance(text, tuple) else (text,)


def places(text):
    return sorted((name, spec, conversion) for _, name, spec, conversion in Formatter().parse(text) if name is not None)


@pytest.mark.parametrize("code", OTHERS)
def test_no_text_is_missing_and_none_is_left_over(code, texts):
    assert set(read(code)) == texts, "make catalogues brings them up to date"


@pytest.mark.parametrize("code", OTHERS)
def test_every_text_is_translated_and_keeps_its_places(code):
    for text, entry in read(code).items():
        for said in forms(entry.string):
            assert said, text
            assert places(said) == places(forms(text)[-1]), text


@pytest.mark.parametrize("code", OTHERS)
def test_every_character_can_be_printed(code):
    said = {character for entry in read(code).values() for text in forms(entry.string) for character in text}
    for font in (SANS, BOLD):
        printed = "".join(run for _, run in split_runs("".join(sorted(said)), font))
        assert printed == "".join(sorted(said))


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT)))
def test_phrases_are_written_out_where_they_are_made(file):
    """A template in a variable is found by no catalogue."""
    tree = ast.parse(file.read_bytes())
    passing_on = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name in {"_say", "build_phrase"}
        for inner in ast.walk(node)
    }
    for node in set(ast.walk(tree)) - passing_on:
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Phrase":
            (template,) = node.args
            if not isinstance(template, ast.Constant):
                assert not node.keywords, f"line {node.lineno}: a template in a variable"


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT)))
def test_texts_do_not_stand_within_formatted_ones(file):
    """There, no catalogue finds them."""
    formatted = [node for node in ast.walk(ast.parse(file.read_bytes())) if isinstance(node, ast.JoinedStr)]
    for node in (inner for outer in formatted for inner in ast.walk(outer)):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in {"say", "Phrase"}:
            assert not isinstance(node.args[0], ast.Constant), f"line {node.lineno}"


def test_the_catalogues_have_what_the_shipped_models_name():
    for file in (ROOT / "models" / "bundles").glob("*/manifest.toml"):
        manifest = tomllib.loads(file.read_text())
        if manifest["task"] == "region":
            assert {format_label(label) for label in manifest["labels"]} <= set(read("de"))
    with np.load(ROOT / "models" / "bundles" / "region" / "scope.npz") as scope:
        assert set(scope["kinds"]) <= set(read("de"))


def test_a_phrase_is_its_english_text_and_is_said_with_its_values_in_any_language():
    inner = Phrase("only {inside:.0%} of the heat lies on the limb", inside=0.25)
    phrase = Phrase("The heat map is withheld: {objection}.", objection=inner)
    assert phrase == "The heat map is withheld: only 25% of the heat lies on the limb."
    assert ENGLISH.say(phrase) == phrase
    for code in OTHERS:
        said = load_language(code).say(phrase)
        assert "25" in said
        assert said != phrase
        assert load_language(code).say(inner).split("25")[0] in said


def test_numbers_are_written_as_the_language_does():
    points = {"first": 0.25, "last": 0.6}
    text = "The radiograph and its mirror image are answered oppositely: probabilities {first:.2f} and {last:.2f}."
    assert "0,25" in load_language("de").say(text, **points)
    assert "0.25" in load_language("ja").say(text, **points)


def test_a_text_that_no_catalogue_has_is_said_as_it_is():
    assert load_language("de").say("Clavicle {0}") == "Clavicle {0}"
    assert load_language("de").say("") == ""


def test_what_is_counted_has_the_plural_of_its_language():
    one, several = "{number} other object in the study.", "{number} other objects in the study."
    said = [load_language("uk").count(one, several, number) for number in (1, 2, 5)]
    assert len({text.lstrip("0123456789") for text in said}) > 1
    assert said[0].startswith("1 ")


def test_a_phrase_comes_whole_from_a_process_in_its_cage():
    phrase = Phrase("{what} took longer than {limit:g} s", what=Phrase("the decoder"), limit=2.0)
    back = load_guarded(pickle.dumps(phrase, protocol=5), [])
    assert (back, back.template, back.values["what"].template) == (phrase, phrase.template, "the decoder")


@pytest.mark.parametrize("template", ["{what.__class__}", "{what[0]}", "{what:>999999999}", "{0}"])
def test_a_process_in_its_cage_cannot_have_templates_do_more_than_write_values(template):
    class Hostile(Phrase):
        def __reduce__(self):
            from inference.phrases import build_phrase

            return build_phrase, (template, {"what": "the decoder"})

    with pytest.raises(ValueError, match="no plain one"):
        load_guarded(pickle.dumps(Hostile("x"), protocol=5), [])


def test_the_catalogues_have_what_states_findings_and_roles_are_called():
    names = {RECEIVING, *RevisionState, *Decision, *Role, *Outcome, DeliveryState.PARKED, DeliveryState.LEFT_OUT}
    assert {str(name) for name in names} <= set(read("de"))


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda file: file.name)
def test_pages_have_no_words_outside_the_catalogues(template):
    """What stands between tags, or in an attribute that people read or hear, is said by a call."""
    text = re.sub(r"{%.*?%}|{{.*?}}|{#.*?#}", " ", template.read_text(), flags=re.DOTALL)
    heard = re.findall(r'\b(?:alt|aria-label|title|placeholder|data-says|data-failed)="([^"]*)"', text)
    between = re.sub(r"<[^>]*>", " ", text)
    assert set(re.findall(r"[^\W\d_]{2,}", " ".join([between, *heard]))) <= {"dicom", "node"}


LATE = Phrase("{what} took longer than {limit:g} s", what=Phrase("the decoder"), limit=2.5)
OUTSIDE = Phrase("only {inside:.0%} of the heat lies on the limb", inside=0.25)
EMPTY = Phrase("It has no image.")


@pytest.mark.parametrize(
    "phrase",
    [
        Phrase("The image could not be decoded: {why}.", why=LATE),
        Phrase("Not analysed by rule '{rule}' of this site.", rule="no hips"),
        Phrase("The heat map is withheld: {objection}.", objection=OUTSIDE),
        Phrase("revision {digest}: {state}: {reason}", digest="0f3a", state=Phrase("failed"), reason=EMPTY),
        EMPTY,
        Phrase("{said} (distance {distance:.2f}, limit {limit:.2f})", said=EMPTY, distance=0.25, limit=0.5),
        Phrase(
            "{first}; {second}",
            first=Phrase(
                "revision {digest}: version {version}, {number} instances", digest="0f3a", version=1, number=2
            ),
            second=Phrase("{archive} lists {number} images", archive="pacs", number=3),
        ),
        Phrase(
            "{name}: {why}",
            name="pacs",
            why=Phrase(
                "{why}, over TLS (do both sides trust each other's certificate?)",
                why=Phrase("failed the TLS handshake: {why}", why="CERTIFICATE_VERIFY_FAILED"),
            ),
        ),
        Phrase("storage commitment failed: {status} ({meaning})", status="0x0112", meaning=FAILURE_REASONS[0x0112]),
        Phrase(
            "could not be fetched: {why}",
            why=Phrase(
                "{name}: {why}",
                name="pacs",
                why=Phrase(
                    "{service} was not answered in time, or {broke}",
                    service="C-MOVE",
                    broke=Phrase(
                        "the archive {trouble}",
                        trouble=Phrase("left a PDU incomplete for {limit:g} s", limit=0.3),
                    ),
                ),
            ),
        ),
    ],
)
def test_a_stored_text_is_said_in_other_languages_as_the_phrase_that_it_was(phrase):
    for code in OTHERS:
        language = load_language(code)
        assert language.recall(str(phrase)) == phrase
        assert language.say(language.recall(str(phrase))) == language.say(phrase) != phrase


def test_why_an_archive_could_not_be_reached_is_said_in_other_languages():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        archive = Destination(name="pacs", ae_title="PACS", host="127.0.0.1", port=taken.getsockname()[1])
        with pytest.raises(AssociationError, match="pacs: refused the connection: nothing listens there") as caught:
            verify_destination(archive, "NODE")
    for code in OTHERS:
        language = load_language(code)
        assert language.recall(str(caught.value)) == caught.value.args[0]
        assert "refused" not in language.say(language.recall(str(caught.value)))


def test_the_catalogues_have_every_reason_of_a_rejected_association():
    answer = A_ASSOCIATE()
    for answer.result_source in (1, 2, 3):
        for answer.diagnostic in (1, 2, 3, 7):  # it takes no others
            assert answer.reason_str.lower() in read("de")


@pytest.mark.parametrize("text", ["", "Nobody ever wrote this.", "revision", "The image could not be decoded", "{why}"])
def test_a_stored_text_that_no_catalogue_has_stays_as_it_is(text):
    assert load_language("de").say(load_language("de").recall(text)) == text

"""Read a received header tolerantly and write what identifies patient and study strictly.

A result must land beside its source: what archives match by (`_VERBATIM`) is copied byte for byte, however wrong. Every
other value is copied when it is valid for its value representation (PS3.5 6.2), cut where it is merely too long, and
left out, or empty where the Standard wants the element, when nothing valid can be made of it. Text is decoded from the
source's character sets; results are written in ISO_IR 192 unless an identifier keeps them in the source's own.
"""

import re
import unicodedata
from collections.abc import Iterable

from pydicom import DataElement, Dataset
from pydicom.datadict import dictionary_VR
from pydicom.tag import Tag

from dicom_node.header import identifier, identifier_bytes, items, texts

_VERBATIM = ("PatientID", "IssuerOfPatientID", "AccessionNumber", "StudyID")

PATIENT_TYPE_2 = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex")
PATIENT_TYPE_3 = ("IssuerOfPatientID", "TypeOfPatientID", "PatientBirthTime", "PatientIdentityRemoved")
STUDY_TYPE_2 = ("StudyDate", "StudyTime", "AccessionNumber", "StudyID", "ReferringPhysicianName")
STUDY_TYPE_3 = ("StudyDescription", "PatientAge", "PatientSize", "PatientWeight")
ISSUER_SEQUENCES = ("IssuerOfPatientIDQualifiersSequence", "IssuerOfAccessionNumberSequence")
_ISSUER = ("LocalNamespaceEntityID", "UniversalEntityID", "UniversalEntityIDType")

_VALID = {
    "AS": r"\d{3}[DWMY]",
    "CS": r"[A-Z0-9 _]{1,16}",
    "DA": r"\d{4}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])",
    "DS": r"(?=.{1,16}$)[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?",
    "TM": r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?",
}
_LONGEST = {"LO": 64, "SH": 16, "PN": 64, "UT": 1024}


def read_text(header: Dataset, keyword: str) -> str:
    """Return an element as one line of text: decoded, no control characters; empty when absent or unreadable."""
    return " ".join(_clean(value) for value in texts(header, keyword)).strip()


def read_name(header: Dataset, keyword: str) -> tuple[str, ...]:
    """Return the component groups of a person name as they are read (PS3.5 6.2.1): alphabetic, ideographic, phonetic.

    `Yamada^Tarou=山田^太郎` gives `("Yamada, Tarou", "山田 太郎")`; empty when there is no name.
    """
    groups = [group.split("^") for group in read_text(header, keyword).split("=")]
    written = []
    for number, components in enumerate(groups):
        family, *others = (component.strip() for component in components)
        given = " ".join(component for component in others if component)
        written.append((" " if number else ", ").join(part for part in (family, given) if part))
    return tuple(group for group in written if group)


def read_valid(header: Dataset, keyword: str) -> str:
    """Return an element's value as it may be written into a result; empty when nothing valid can be made of it."""
    if keyword in _VERBATIM:
        value = identifier(header, keyword)
        return value if isinstance(value, str) else value.decode("ascii", "backslashreplace")
    vr = dictionary_VR(keyword)
    text = read_text(header, keyword)
    if vr == "DA":
        text = text.replace(".", "")  # the form of ACR-NEMA (PS3.5 6.2, VR DA, note)
    if vr == "PN":
        return "=".join(group[: _LONGEST["PN"]] for group in text.split("=")[:3])
    if vr in _VALID:
        return text if re.fullmatch(_VALID[vr], text) else ""
    return text.replace("\\", " ")[: _LONGEST[vr]].strip()


def add_patient_module(ds: Dataset, header: Dataset) -> None:
    """Add the Patient Module (PS3.3 C.7.1.1)."""
    _copy(ds, header, PATIENT_TYPE_2, PATIENT_TYPE_3)
    if ds.get("PatientIdentityRemoved") == "YES":
        ds.DeidentificationMethod = read_valid(header, "DeidentificationMethod") or "Unknown"
    _copy_issuers(ds, header, ISSUER_SEQUENCES[:1])


def add_study_modules(ds: Dataset, header: Dataset, study_instance_uid: str) -> None:
    """Add the General Study and Patient Study Modules (PS3.3 C.7.2.1, C.7.2.2)."""
    ds.StudyInstanceUID = study_instance_uid
    _copy(ds, header, STUDY_TYPE_2, STUDY_TYPE_3)
    _copy_issuers(ds, header, ISSUER_SEQUENCES[1:])


def declare_character_set(ds: Dataset, header: Dataset) -> None:
    """Say which character set `ds` is written in, once its patient and study modules are there.

    ISO_IR 192, unless an identifier of the source has bytes that are read in several ways: archives do not decode alike
    (Orthanc takes no escape sequences), so only the same bytes beside the same declaration are the same identifier.
    """
    ds.SpecificCharacterSet = "ISO_IR 192"
    if any(_depends_on_character_set(header, keyword) for keyword in _VERBATIM):
        declared = texts(header, "SpecificCharacterSet")
        if any(declared) and all(re.fullmatch(_VALID["CS"], term or "ISO_IR 6") for term in declared):
            ds.SpecificCharacterSet = declared
        else:
            del ds.SpecificCharacterSet  # none, or nothing that anyone could know


def _depends_on_character_set(header: Dataset, keyword: str) -> bool:
    """Tell whether the bytes of an identifier may be other characters in another set: ISO_IR 13 has no ~."""
    return re.search(rb"[^ -\[\]-}]", identifier_bytes(header, keyword) or b"") is not None


def _copy(ds: Dataset, header: Dataset, type_2: Iterable[str], type_3: Iterable[str]) -> None:
    for keyword in (*type_2, *type_3):
        if keyword in _VERBATIM and (raw := identifier_bytes(header, keyword)):
            ds.add(DataElement(Tag(keyword), dictionary_VR(keyword), raw))
        elif (value := read_valid(header, keyword)) or keyword in type_2:
            setattr(ds, keyword, value)


def _copy_issuers(ds: Dataset, header: Dataset, keywords: Iterable[str]) -> None:
    """Copy issuers, each a Hierarchic Designator (PS3.3 Table 10-17)."""
    for keyword in keywords:
        copies = []
        for issuer in items(header, keyword):
            copy = Dataset()
            _copy(copy, issuer, (), _ISSUER)
            copies += [copy] if len(copy) else []
        if copies:
            setattr(ds, keyword, copies)


def _clean(text: str) -> str:
    """Drop control characters and lone surrogates, which no single-line value may hold (PS3.5 6.1.3)."""
    return "".join(character for character in text if unicodedata.category(character) not in {"Cc", "Cs"})

"""The annexes: what is created, with which codes and character sets."""

from pydicom.charset import python_encoding

from dicom_node import __version__
from dicom_node.encode.sop_classes import RESULT_SOP_CLASSES, kinds_made
from dicom_node.identity import MANUFACTURER, MANUFACTURER_MODEL_NAME
from dicom_node.operate.conformance.document import Section, Table
from dicom_node.settings import Settings


def describe_annexes(settings: Settings) -> Section:
    """Describe the objects that the node creates, and character sets (PS3.2 N.9)."""
    return Section("Annexes", (_describe_objects(settings), _describe_character_sets()))


def _describe_objects(settings: Settings) -> Section:
    kinds = kinds_made(settings.results)
    rows = [(kind.value, RESULT_SOP_CLASSES[kind].name, RESULT_SOP_CLASSES[kind]) for kind in kinds]
    common = (
        ("PatientName, PatientID, IssuerOfPatientID, study attributes", "those of the source"),
        ("SOPInstanceUID, SeriesInstanceUID", "derived from sources and models: the same result has the same UID"),
        ("SeriesNumber", "9001 and above; a series of its own for each kind and version"),
        ("Manufacturer", MANUFACTURER),
        ("ManufacturerModelName", MANUFACTURER_MODEL_NAME),
        ("SoftwareVersions", __version__),
        ("StationName", settings.node.ae_title),
        ("ContributingEquipmentSequence", "each model that spoke, with version and digest"),
        ("BurnedInAnnotation", "YES where pixels or pages hold text"),
    )
    return Section(
        "Objects that are created",
        (
            "Transfer syntax: Explicit VR Little Endian. No private attributes are written.",
            Table(("result", "SOP class", "UID"), rows),
            "In all of them:",
            Table(("attribute", "value"), common),
        ),
    )


def _describe_character_sets() -> Section:
    terms = ", ".join(term for term in python_encoding if term.startswith("ISO") or term in {"GB18030", "GBK"})
    return Section(
        "Character sets",
        (
            f"Read: the default repertoire, {terms}.",
            (
                "Written: ISO_IR 192 (UTF-8). Identifiers whose bytes their character set does not decode are kept"
                " byte for byte."
            ),
        ),
    )

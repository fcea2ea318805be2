"""What the header says about the part of the body: Body Part Examined (PS3.16 Annex L) beside the models' regions."""

import re

from pydicom import Dataset

from dicom_node.header import code, items

_LIMBS: tuple[tuple[str, str, str], ...] = (
    ("FINGER FINGERS THUMB", "HAND", ""),
    ("HAND HANDS CARPUS SCAPHOID", "HAND", "FOREARM"),
    ("WRIST WRISTS", "", "HAND FOREARM"),
    ("FOREARM RADIUS ULNA RADIUSULNA LOWERARM", "FOREARM", "ELBOW HAND"),
    ("ELBOW ELBOWS", "ELBOW", "FOREARM HUMERUS"),
    ("HUMERUS HUMERAL UPPERARM", "HUMERUS", "ELBOW SHOULDER FOREARM"),
    ("ARM", "", "HUMERUS ELBOW SHOULDER FOREARM"),
    ("SHOULDER SHOULDERS CLAVICLE SCAPULA ACJOINT", "SHOULDER", "HUMERUS"),
    ("UPPEREXTREMITY UPPERLIMB UPEXM", "", "HAND FOREARM ELBOW HUMERUS SHOULDER"),
    ("HIP HIPS HIPJOINT PELVIS ACETABULUM", "HIP", "FEMUR"),
    ("FEMUR FEMORAL THIGH UPPERLEG", "FEMUR", "HIP KNEE"),
    ("KNEE KNEES PATELLA", "KNEE", "LEG FEMUR"),
    ("TIBIA FIBULA TIBIAFIBULA LOWERLEG CALF", "LEG", "KNEE ANKLE_FOOT FEMUR"),
    ("LEG LEGS", "", "LEG KNEE ANKLE_FOOT FEMUR"),
    ("ANKLE ANKLES", "ANKLE_FOOT", "LEG"),
    ("FOOT FEET TOE TOES HEEL CALCANEUS HINDFOOT FOREFOOT", "ANKLE_FOOT", ""),
    ("LOWEREXTREMITY LOWERLIMB LOWEXM", "", "HIP FEMUR KNEE LEG ANKLE_FOOT"),
)
"""Body parts, the one region each is, and the others in the field of view.

No single region is what lies between two of them, and what is said of a whole limb as often as of a part of it.
"""

REGIONS: dict[str, frozenset[str]] = {
    term: frozenset(f"{own} {others}".split()) for terms, own, others in _LIMBS for term in terms.split()
}
"""The regions that a radiograph of a body part may show: the part itself and the neighbours in the field of view."""

_OWN: dict[str, str] = {term: own for terms, own, _ in _LIMBS for term in terms.split()}

OUTSIDE = frozenset(
    term
    for terms in (
        "CHEST THORAX LUNG LUNGS HEART RIB RIBS STERNUM BREAST",
        "ABDOMEN ABDOMENPELVIS KUB ESOPHAGUS STOMACH COLON KIDNEY BLADDER",
        "HEAD SKULL BRAIN FACE FACIAL ORBIT ORBITS SINUS SINUSES MASTOID NOSE NASAL NASALBONE ZYGOMA",
        "MANDIBLE MAXILLA JAW TMJ TMJOINT TOOTH TEETH DENTAL PANORAMIC NECK LARYNX TRACHEA",
        "SPINE CSPINE TSPINE LSPINE SSPINE CTSPINE TLSPINE LSSPINE SACRUM COCCYX SIJOINT",
        "WHOLEBODY BABYGRAM",
    )
    for term in terms.split()
)
"""Parts of the body that are no limb, girdle or hip."""


def outside_scope(header: Dataset) -> str | None:
    """Return the body part when the header names one that is no limb; None when it names a limb or nothing known."""
    terms = _terms(header)
    return None if any(term in REGIONS for term in terms) else next((term for term in terms if term in OUTSIDE), None)


def contradicts(header: Dataset, region: str) -> str | None:
    """Return the body parts that the header names when a radiograph of none of them can show `region`, else None."""
    whole, *words = _terms(header)
    named = [term for term in ([whole] if whole in REGIONS else dict.fromkeys(words)) if term in REGIONS]
    return None if any(region in REGIONS[term] for term in named) else ", ".join(named) or None


def name_region(header: Dataset) -> str | None:
    """Return the region that the header names; None when it names none, several, or what is no single region."""
    named = _named(header)
    return (named.pop() or None) if len(named) == 1 else None


def name_several(header: Dataset) -> tuple[str, ...]:
    """Return the regions that the header names, sorted, where they are more than one."""
    named = sorted(_named(header) - {""})
    return tuple(named) if len(named) > 1 else ()


def _named(header: Dataset) -> set[str]:
    whole, *words = _terms(header)
    return {_OWN[term] for term in ([whole] if whole in _OWN else words) if term in _OWN}


def _terms(header: Dataset) -> tuple[str, ...]:
    """List the words to look for: the value without blanks and signs first, then each of its words.

    Body Part Examined comes first; many DX say it only as Anatomic Region (PS3.3 10.5).
    """
    anatomic_region = next(iter(items(header, "AnatomicRegionSequence")), Dataset())
    text = code(header, "BodyPartExamined") or code(anatomic_region, "CodeMeaning")
    words = re.findall("[A-Z]+", text)
    return ("".join(words), *words)

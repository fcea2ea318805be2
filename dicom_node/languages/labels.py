"""What models, states and roles are called, so that the catalogues have the words: they reach pages as values."""

from inference.phrases import Phrase

LABELS = (
    Phrase("Hand"),
    Phrase("Forearm"),
    Phrase("Elbow"),
    Phrase("Humerus"),
    Phrase("Shoulder"),
    Phrase("Hip"),
    Phrase("Femur"),
    Phrase("Knee"),
    Phrase("Leg"),
    Phrase("Ankle foot"),
    Phrase("region"),
    Phrase("fracture"),
    Phrase("type"),
    Phrase("a trunk"),
    Phrase("a head"),
    Phrase("a section"),
    Phrase("a picture without anatomy"),
)
"""Labels of the shipped bundles as they are read; those of other bundles are said as they are."""

STATES = (
    Phrase("receiving"),
    Phrase("queued"),
    Phrase("analysing"),
    Phrase("delivering"),
    Phrase("done"),
    Phrase("excluded"),
    Phrase("failed"),
    Phrase("superseded"),
    Phrase("parked"),
    Phrase("left out"),
)
"""How far studies and their results have come."""
DECISIONS = (Phrase("fracture"), Phrase("no fracture"), Phrase("uncertain"), Phrase("not analysed"))
ROLES = (Phrase("viewer"), Phrase("radiologist"), Phrase("operator"), Phrase("administrator"))
OUTCOMES = (Phrase("decides"), Phrase("too late"), Phrase("does not hold"))
"""Of a rule for one study."""

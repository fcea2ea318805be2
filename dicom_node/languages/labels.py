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
REJECTIONS = (
    Phrase("no reason given"),
    Phrase("application context name not supported"),
    Phrase("calling ae title not recognised"),
    Phrase("called ae title not recognised"),
    Phrase("protocol version not supported"),
    Phrase("temporary congestion"),
    Phrase("local limit exceeded"),
    Phrase("reserved"),
    Phrase("(no value available)"),
)
"""Reasons of an A-ASSOCIATE-RJ (PS3.8 Table 9-21), as pynetdicom names them."""
OUTCOMES = (Phrase("decides"), Phrase("too late"), Phrase("does not hold"))
"""Of a rule for one study."""

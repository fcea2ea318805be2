"""What models call things, so that the catalogues have the words: labels of regions, tasks, kinds of outsiders."""

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

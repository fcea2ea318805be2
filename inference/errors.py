"""What can go wrong between an array and its analysis.

InferenceError
    BundleError             the bundle is missing, altered, or not as its manifest says
    UnsupportedImageError   the image is outside what the models accept
"""


class InferenceError(Exception):
    """An analysis could not be made."""


class BundleError(InferenceError):
    """A model bundle is missing, altered, or not as its manifest says: refuse to start."""


class UnsupportedImageError(InferenceError):
    """The image is outside what the models accept (too small, not finite, not two-dimensional)."""

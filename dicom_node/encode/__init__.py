"""Encode: the analysis of a study becomes the objects that go back into it."""

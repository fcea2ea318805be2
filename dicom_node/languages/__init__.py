"""The languages of results and pages: gettext catalogues, one file of each, and the way numbers are written."""

from dicom_node.languages.language import ENGLISH, LANGUAGES, Language, LanguageCode, load_language

__all__ = ["ENGLISH", "LANGUAGES", "Language", "LanguageCode", "load_language"]

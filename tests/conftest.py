"""What holds for every test."""

import pydicom

# A misspelt DICOM keyword in a test is an error, not a silent Python attribute.
pydicom.config.INVALID_KEYWORD_BEHAVIOR = "RAISE"

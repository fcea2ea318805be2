"""The DICOM upper layer (PS3.8 chapter 9) within limits, for associations that are accepted and that are requested.

Stock pynetdicom 3.0.4 reads PDUs of any length, waits without end for the rest of one, and goes by the wall clock.
"""

"""Receive: C-STORE and C-ECHO over DICOM associations, bytes kept as sent, Success only for what is durable."""

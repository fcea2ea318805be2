"""Beside the line: ask an archive what it holds of a study, and fetch what it never forwarded."""

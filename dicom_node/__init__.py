"""A DICOM node that puts a fracture AI beside any PACS.

The folders are the stages a study passes: receive, assemble, analyse, encode, deliver.
"""

from importlib.metadata import version

__version__ = version("dicom-node")

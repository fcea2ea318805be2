"""The fracture pipeline on arrays: preprocessing, models, Grad-CAM, regions of interest, overlay.

Knows nothing of DICOM, of networks between machines, or of how the models were trained.
"""

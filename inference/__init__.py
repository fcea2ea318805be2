"""The fracture pipeline on arrays: preprocessing, models, Grad-CAM, regions of interest, overlay.

Knows nothing of DICOM, of networks between machines, or of how the models were trained.
"""

import os

# ONNX Runtime reads this when it is imported; without it, it reports to its maker and leaves a file in the temp folder.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

"""The web process: pages to run the node by, `POST /predict`, health and readiness.

Rendered on the server, loaded from nowhere else. Nothing of an image is decoded and no model is loaded in this process.
"""

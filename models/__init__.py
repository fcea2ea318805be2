"""Training, evaluation and export of the models, and the bundles that were made.

Uses `inference.preprocessing`, so that training and serving share one definition of preprocessing.
"""

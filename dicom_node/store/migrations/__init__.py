"""How a database of each release becomes one of the next: alembic's scripts, one a step, in `versions/`.

A step never imports `dicom_node.store.schema`, which is of today: what it makes is written down in it. A change of the
tables is a new `versions/schema_<number>.py` with `revision`, `down_revision` and `upgrade`, and `schema.NUMBER`.
"""

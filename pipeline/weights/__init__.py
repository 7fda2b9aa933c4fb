"""Weights that others trained, as plain data: read without running them, pinned, and asked about every sample once.

Imports `models`, `inference`, `preprocessing`, `data` and `runtime`, never a room above or beside it. Begin with
`pipeline/weights/pinned.py`: what stands in data/weights.json; then `recipes.py` (which packages can be read, and how)
and `frozen.py` (what the features stage asks of a trunk).
"""

"""Weights that others trained, as plain data: how they are read, written and pinned, and nothing of theirs is run.

Imports `runtime` alone, never a room above or beside it. Begin with `pipeline/weights/pinned.py`: what stands in
data/weights.json; `recipes.py` says which packages can be read, and how.
"""

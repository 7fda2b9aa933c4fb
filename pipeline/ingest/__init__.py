"""Samples of any source to the canonical data set: one table and one memory-mapped array.

Imports `sources`, `data` and `runtime`, never a room above or beside it. Begin with
`pipeline/ingest/writers.py`, then `pipeline/ingest/images.py` or `pipeline/ingest/sequences.py`.
"""

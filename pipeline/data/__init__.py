"""The canonical data set, for reading: samples, their splits, windows over series, single cells.

Imports `runtime` only; what writes the data set is in `ingest`. Begin with `pipeline/data/samples.py`.
"""

"""Where a result comes from, by files and git: commit, digests of data, code and environment.

Imports `runtime` only; it knows no server. Begin with `pipeline/provenance/state.py`, which gathers what the
record of a run shows.
"""

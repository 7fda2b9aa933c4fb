"""Where work runs: processes of this machine, or a Ray cluster; the same jobs give the same bytes on both.

Imports `provenance` and `runtime` only. Begin with `pipeline/engine/work.py`, the agreement, then
`pipeline/engine/local.py`; `pipeline/engine/ray.py` is the door to Ray.
"""

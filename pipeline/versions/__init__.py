"""Registered versions: sealed, traced to their origin, verified, rolled back, built again.

Imports `tracking`, `provenance`, `evaluation`, `fetching`, `inference`, `reports` and `runtime`, never a room
above or beside it. Begin with `pipeline/versions/seal.py`, what a version carries.
"""

"""Who trains, who chooses and who judges: by hash of the content or group, by time, or as given.

Imports no other room. Begin with `pipeline/splits/by_hash.py`, whose first lines say what must hold of every
split.
"""

"""From the world to a pinned archive: downloads, archives, and what data/source.json says.

Imports `sources` and `runtime`, never a room above or beside it; stages take from it only what lies on this
machine, commands also ask the network. Begin with `pipeline/fetching/source.py`, then
`pipeline/fetching/snapshot.py`.
"""

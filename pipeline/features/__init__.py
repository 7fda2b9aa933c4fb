"""What the features stage fits on train and writes for all, one file per kind of data.

Imports `preprocessing`, `data` and `runtime`, never a room above or beside it. Begin with
`pipeline/features/images.py`: colour, texture and edges.
"""

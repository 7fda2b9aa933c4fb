"""What a model does once it is served: a log of its answers, and that log against what the model was judged on.

Imports `evaluation`, `reports`, `inputs` and what these stand on, never a room above or beside it. Begin with
`pipeline/monitoring/rows.py`, which says what is written down of a record.
"""

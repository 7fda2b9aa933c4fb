"""One record from outside as the inputs of a model, by the state that travels with it.

Imports `inputs`, `features`, `preprocessing` and what these stand on, never a room above or beside it. Begin
with `pipeline/serving/record.py`.
"""

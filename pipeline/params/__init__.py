"""params.yaml as one frozen, strict object, and the table of families with their settings.

Imports `runtime` only. Only the doors import it (`stages`, `commands`, `checks`, `retraining`): below them
values travel as plain arguments. Begin with `pipeline/params/load.py`, then `pipeline/params/families.py`.
"""

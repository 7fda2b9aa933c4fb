"""One candidate trained: batches, losses, optimizers, and a fit that ends in the same bytes.

Imports `inference`, `inputs`, `metrics` and `runtime`, and finds the family by its name; never a room above
or beside it. Begin with `pipeline/training/candidate.py`, the recipe that `train` and `tune` share.
"""

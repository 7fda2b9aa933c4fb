"""The search around a baseline: a seeded sampler proposes, halving decides; the door to Optuna.

Imports `training`, `inference`, `inputs` and `runtime`, never a room above or beside it. Begin with
`pipeline/tuning/search.py`, then `pipeline/tuning/trials.py`.
"""

"""May this model become champion: one question, a list of checks, one rule.

Imports `evaluation`, `metrics`, `inference`, `inputs`, `provenance` and `runtime`, never a room above or
beside it; `promotion.py` alone asks `tracking`, the others are pure functions of answers and truth. Begin
with `pipeline/gate/decision.py`.
"""

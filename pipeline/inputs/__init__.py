"""What a model reads and is asked: the specs of its inputs and outputs, and the arrays themselves.

Imports `preprocessing`, `data` and `runtime`, never a room above or beside it. Begin with
`pipeline/inputs/specs.py`, then `pipeline/inputs/train_data.py`.
"""

"""From raw records to answers in the user's words, by the state that travels with a model, without TensorFlow.

Imports `evaluation`, `export`, `inputs` and what these stand on, never a room above or beside it. Begin with
`pipeline/serving/scorer.py`.
"""

"""Load a model file safely, start TensorFlow, and predict.

Imports `inputs` and `runtime`, never a room above or beside it: neither a loss nor an optimizer, so that what
only predicts does not depend on training. Begin with `pipeline/inference/prediction.py`; what a strange file
must pass, in which order, says `pipeline/inference/keras_files.py`.
"""

"""Where each format of a model lies in a bundle; light, for the command line names them."""

from pipeline.runtime.paths import MODEL_ONNX

PLACES = {"onnx": MODEL_ONNX, "keras": "model.keras", "saved_model": "saved_model", "litert": "model.tflite"}
"""Format to its file, or folder."""

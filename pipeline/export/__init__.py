"""A trained model as others can run it: the ONNX file that is served, and the one door to onnxruntime.

Imports `runtime` alone, so that who answers with a model needs no TensorFlow; only the writer knows Keras. Begin with
`pipeline/export/onnx_model.py`.
"""

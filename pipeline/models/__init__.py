"""One file per family: `build(input_spec, output_spec, **settings) -> keras.Model`.

Imports `inputs` and `pipeline/models/layers`, and no family imports another. Begin with
`pipeline/models/cnn.py`.
"""

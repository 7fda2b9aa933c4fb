"""What families are built from: inputs, blocks, recurrent layers, encoders and decoders, heads.

Imports `inputs` and no family. Begin with `pipeline/models/layers/inputs.py` and
`pipeline/models/layers/heads.py`, how every model begins and ends.
"""

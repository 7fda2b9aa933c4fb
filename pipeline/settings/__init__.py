"""The sections of params.yaml as frozen, strict structs; `pipeline/config.py` puts them together."""

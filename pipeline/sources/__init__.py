"""One file per kind of input; `pipeline/sources/raw_sample.py` says what each must offer."""

"""One file per kind of source; `pipeline/raw/sample.py` says what each must offer.

Imports `formats`, `data` and `runtime`, never a room above or beside it, and no kind imports another. Begin
with `pipeline/raw/sample.py`, then `pipeline/sources/image_folder.py`.
"""

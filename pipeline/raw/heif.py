"""The one door of pillow-heif, which lets Pillow read HEIC and HEIF: the extra `heic`, for photographs of telephones.

Without it such files are refused before anything is read (`pipeline/raw/left_out.py`), and where an archive made
elsewhere holds them, by whoever decodes.
"""

from functools import cache
from importlib.util import find_spec

SUFFIXES = frozenset([".heic", ".heif", ".hif"])
INSTALL = "pip install 'millrace[heic]', in this project: pip install 'pillow-heif>=1.1'"
BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx")
ANY_BRANDS = (b"mif1", b"msf1")
"""Of AVIF, which Pillow reads, as well: what else a file is compatible with tells."""


@cache
def readable() -> bool:
    """Return whether the extra is installed."""
    return find_spec("pillow_heif") is not None


@cache
def let_pillow_read() -> bool:
    """Teach Pillow the format where the extra is installed; return whether it is."""
    if not readable():
        return False
    from pillow_heif import register_heif_opener

    register_heif_opener(thumbnails=False)
    return True


def is_heif(content: bytes) -> bool:
    """Return whether an encoded image is HEIC or HEIF by its first bytes."""
    brand, compatible = content[8:12], content[16 : min(64, int.from_bytes(content[:4]))]
    named = brand in BRANDS or (brand in ANY_BRANDS and any(other in compatible for other in BRANDS))
    return content[4:8] == b"ftyp" and named

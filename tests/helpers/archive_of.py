"""A tar in memory from names and contents, for tests of sources."""

import io
import tarfile
from contextlib import contextmanager


@contextmanager
def archive_of(files):
    """Yield an open tar with these members, sorted by name as `write_tar` sorts them."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:") as archive:
        for name in sorted(files):
            info = tarfile.TarInfo(name)
            info.size = len(files[name])
            archive.addfile(info, io.BytesIO(files[name]))
    packed.seek(0)
    with tarfile.open(fileobj=packed, mode="r:") as archive:
        yield archive

"""Archives: unpack what a stranger packed, and pack so that equal content gives equal bytes."""

import bz2
import gzip
import io
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import IO

from pipeline.runtime.errors import DataRefused, NotPermitted
from pipeline.runtime.files import CHUNK_BYTES

MAX_RATIO = 100
"""Bytes out per byte in. Pictures and tables stay below 20; a bomb of zeros reaches 1,000."""
HARMLESS_BYTES = 1 << 20
"""Below this size a member may have any ratio: sorted labels shrink a thousandfold and fill no disk."""

COMPRESSED = (".gz", ".bz2", ".xz")
DAMAGED = (zipfile.BadZipFile, tarfile.TarError, EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile)


def write_tar(path: Path, files: Mapping[str, Path | bytes]) -> None:
    """Write an uncompressed tar whose bytes follow from names and contents alone.

    Members are sorted, with zero times and owners. One file is in memory at a time only as a stream.

    Args:
        path: The tar to write, in place; give an unfinished name.
        files: Per member its file or its content.
    """
    with tarfile.open(path, "w:", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted(files):
            # tarfile keeps every member it wrote; nobody needs them, and there may be millions.
            archive.members.clear()  # type: ignore[attr-defined]  # missing in the stubs
            content = files[name]
            info = tarfile.TarInfo(name)
            info.mode = 0o644
            if isinstance(content, bytes):
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
                continue
            with content.open("rb") as file:
                info.size = os.fstat(file.fileno()).st_size
                archive.addfile(info, file)


SYSTEM = frozenset(
    ["@eadir", "#recycle", "$recycle.bin", "__macosx", "system volume information", "thumbs.db", "desktop.ini",
     "ehthumbs.db", "icon\r"]
)  # fmt: skip
"""What file managers and network drives write beside data, in lower case; whatever begins with a dot too."""


def list_folders(folder: Path) -> list[str]:
    """Return all folders below `folder`, also empty ones, as `list_files` does it."""
    found = []
    for parent, folders, _ in os.walk(folder):
        folders[:] = [name for name in folders if not _of_the_system(name)]
        found += [Path(parent, name).relative_to(folder).as_posix() for name in folders]
    return sorted(found)


def list_files(folder: Path) -> list[str]:
    """Return all files below `folder` as sorted relative names with `/`; hidden and system files are left out.

    Raises:
        NotPermitted: A symbolic link or device: what it points to would be read without being asked for.
        DataRefused: A name is not UTF-8, so no two machines would agree on it.
    """
    names: list[str] = []
    pending = [""]
    while pending:
        prefix = pending.pop()
        for entry in os.scandir(folder / prefix):
            name = f"{prefix}{entry.name}"
            if _of_the_system(entry.name):
                continue
            if not (entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False)):
                raise NotPermitted(
                    f"{folder / name} is a symbolic link or a device. Expected plain files and folders. "
                    f"Received: {name}. Copy the real file there, or remove it."
                )
            if not _storable(name):
                raise DataRefused(
                    "A file name cannot be stored. Expected UTF-8 without control characters. "
                    f"Received: {os.fsencode(name)!r}. Rename it."
                )
            if entry.is_dir(follow_symlinks=False):
                pending.append(f"{name}/")
            else:
                names.append(name)
    return sorted(names)


def _of_the_system(name: str) -> bool:
    return name.startswith(".") or name.casefold() in SYSTEM


def _storable(name: str) -> bool:
    # Python stands in lone surrogates for bytes of a name that are not UTF-8.
    return not any(character < " " or "\ud800" <= character <= "\udfff" for character in name)


def is_archive(path: Path) -> bool:
    """Return whether a file is an archive, or is called like one and must be read as one.

    What is compressed and holds no tar is a single file, see `decompress`.
    """
    if path.suffix.lower() == ".npz":  # arrays, which their own reader takes apart
        return False
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    if (
        zipfile.is_zipfile(path)
        or _is_tar(path)
        or ".tar" in suffixes
        or suffixes[-1:] in ([".zip"], [".tgz"])
    ):
        return True
    return not is_compressed(path) and suffixes[-1:] in ([".gz"], [".bz2"], [".xz"])


def _is_tar(path: Path) -> bool:
    try:
        return tarfile.is_tarfile(path)
    except (*DAMAGED, OSError):
        return False


def is_compressed(path: Path) -> bool:
    """Return whether a file begins as gzip, bzip2 or xz does."""
    with path.open("rb") as file:
        return file.read(6).startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ"))


def decompress(packed: Path, path: Path, *, max_bytes: int) -> None:
    """Write the one file that a .gz, .bz2 or .xz holds; nothing where it cannot be read to its end.

    Args:
        packed: The file; its content says how it is compressed.
        path: Where to; must not exist yet.
        max_bytes: Limit of what comes out.

    Raises:
        NotPermitted: It grows more than 100-fold.
        DataRefused: Damaged, or larger than `max_bytes`.
    """
    try:
        with packed.open("rb") as file:
            _write(path, _LimitedReader(_decompressor(file), packed, max_bytes))
    except DAMAGED as error:
        path.unlink()
        raise DataRefused(
            f"{packed.name} cannot be unpacked. Expected an intact .gz, .bz2 or .xz. Received: {error}. "
            "Download or pack it again."
        ) from error
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def unpack(archive: Path, folder: Path, *, max_bytes: int) -> None:
    """Unpack a .zip or .tar(.gz, .bz2, .xz), or nothing at all.

    The first bad member refuses the whole archive; `folder` is removed then. Empty folders, owners,
    times and permissions are not taken over.

    Args:
        archive: The file; its content says what it is, not its suffix.
        folder: Where to; must not exist yet.
        max_bytes: Limit of all members together.

    Raises:
        NotPermitted: A member is absolute, has `..`, is a link or a device, or grows more than
            100-fold.
        DataRefused: Neither zip nor tar, damaged, encrypted, or larger than `max_bytes`.
    """
    folder.mkdir(parents=True)
    try:
        if zipfile.is_zipfile(archive):
            _unpack_zip(archive, folder, max_bytes)
        else:
            _unpack_tar(archive, folder, max_bytes)
    except (*DAMAGED, FileExistsError, NotADirectoryError) as error:
        shutil.rmtree(folder)
        raise DataRefused(
            f"{archive.name} cannot be unpacked. Expected an intact .zip or .tar(.gz, .bz2, .xz). "
            f"Received: {error}. Download or pack it again."
        ) from error
    except BaseException:
        shutil.rmtree(folder)
        raise


def _unpack_zip(path: Path, folder: Path, max_bytes: int) -> None:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        for member in members:
            _check_name(member.filename)
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _refused(member.filename, "is a link or a device", "plain files and folders")
            if member.flag_bits & 1:
                raise DataRefused(f"{path.name} is encrypted. Expected a plain archive. Unpack it yourself.")
            _check_ratio(member.filename, member.file_size, member.compress_size)
        _check_total(path.name, sum(member.file_size for member in members), max_bytes)
        for member in members:
            if not member.is_dir():
                with archive.open(member) as content:
                    _write(folder / member.filename, content)


def _unpack_tar(path: Path, folder: Path, max_bytes: int) -> None:
    with path.open("rb") as packed:
        limit = _LimitedReader(_decompressor(packed), path, max_bytes)
        # `r|` reads once from front to back: no header, however large, is read past the limit.
        with tarfile.open(fileobj=limit, mode="r|") as archive:
            for member in archive:
                _check_name(member.name)
                if member.issparse() or not (member.isreg() or member.isdir()):
                    raise _refused(
                        member.name, "is a link, a device or a sparse file", "plain files and folders"
                    )
                content = archive.extractfile(member) if member.isreg() else None
                if content is not None:
                    _write(folder / member.name, content)


class _LimitedReader(io.RawIOBase):
    """Counts what comes out of a decompressor and stops a bomb while it goes off."""

    def __init__(self, source: IO[bytes], path: Path, max_bytes: int) -> None:
        self._source = source
        self._path = path
        self._max_bytes = max_bytes
        self._packed_bytes = path.stat().st_size
        self._bytes = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        try:
            content = self._source.read(size)
        except OSError as error:
            if error.errno is not None or isinstance(error, gzip.BadGzipFile):
                raise
            raise tarfile.ReadError(str(error)) from error  # of bz2: no fault of the disk
        self._bytes += len(content)
        _check_ratio(self._path.name, self._bytes, self._packed_bytes)
        _check_total(self._path.name, self._bytes, self._max_bytes)
        return content


def _decompressor(packed: IO[bytes]) -> IO[bytes]:
    magic = packed.read(6)
    packed.seek(0)
    if magic.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=packed)  # type: ignore[return-value]  # reads bytes all the same
    if magic.startswith(b"BZh"):
        return bz2.BZ2File(packed)
    if magic.startswith(b"\xfd7zXZ"):
        return lzma.LZMAFile(packed)
    return packed


def _write(path: Path, content: "IO[bytes] | _LimitedReader") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        shutil.copyfileobj(content, file, CHUNK_BYTES)


def _check_name(name: str) -> None:
    drive = len(name) > 1 and name[1] == ":"
    if drive or "\\" in name or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise _refused(name, "leaves its folder", "relative names without `..` and backslashes")


def _check_ratio(name: str, size: int, packed_size: int) -> None:
    if size > HARMLESS_BYTES and size > MAX_RATIO * packed_size:
        raise _refused(name, "grows like a decompression bomb", f"at most {MAX_RATIO} bytes per packed byte")


def _check_total(name: str, size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise DataRefused(
            f"{name} is too large when unpacked. Expected at most {max_bytes:,} bytes. "
            f"Received: {size:,} bytes or more. Raise the limit with --max-gib if that is right."
        )


def _refused(name: str, fault: str, expected: str) -> NotPermitted:
    return NotPermitted(
        f"The whole archive is refused: a member {fault}. Expected {expected}. Received: {name!r}. "
        "Do not use it unless you know who made it."
    )

"""Files that are complete or absent, and whose bytes follow from their content alone."""

import csv
import errno
import glob
import hashlib
import io
import json
import math
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from filelock import lock_descriptor

from pipeline.runtime.errors import StorageFailed

CHUNK_BYTES = 1 << 20
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


@contextmanager
def atomic_path(path: Path, mode: int = 0o666) -> Iterator[Path]:
    """Yield a temporary path in the same folder; on success it becomes `path`, on failure it is removed.

    The file is fsynced before the rename and its folder after it, so that a reader sees the old file or
    the whole new one, also after a power cut. Its permissions are those of any new file: the umask is respected.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path)
    prefix = f".{path.name}.{os.getpid()}."
    descriptor, name = tempfile.mkstemp(prefix=prefix, suffix=path.suffix, dir=path.parent)
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(mode & ~_umask())
        temporary.replace(path)
        fsync_dir(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    """Return which rights this process gives nobody: `mkstemp` does not ask, so a file would be everybody's or ours."""
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


def remove_leftovers(path: Path) -> None:
    """Remove what writers of `path` left behind that were killed half-way: `.<name>.<process>.` and anything."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*"):
        owner = leftover.name.removeprefix(f".{path.name}.").partition(".")[0]
        if owner.isdigit() and not Path("/proc", owner).exists():
            leftover.unlink(missing_ok=True)


def reserve(path: Path) -> None:
    """Take the room that a file needs before it is written through memory, where a full disk kills the process.

    Raises:
        OSError: There is not enough.
    """
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)


def fsync_dir(folder: Path) -> None:
    """Make renames inside `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Write `content` to `path`, all or nothing."""
    with atomic_path(path, mode) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str, mode: int = 0o666) -> None:
    """Write UTF-8 text to `path`, all or nothing."""
    write_bytes(path, content.encode(), mode)


def write_json(path: Path, content: object) -> None:
    """Write deterministic JSON: sorted keys, floats as Python prints them, a newline at the end.

    Raises:
        ValueError: A number is NaN or infinite; nothing broken is ever written as a result.
    """
    write_text(path, json_text(content))


def json_text(content: object) -> str:
    """Return what `write_json` writes."""
    return json.dumps(content, sort_keys=True, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What makes spreadsheets calculate a cell (OWASP, CSV injection); the last four are its full-width twins."""


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a header and rows for people, see `csv_text`, all or nothing."""
    write_text(path, csv_text(columns, rows))


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return CSV that a person may open in a spreadsheet: lines end in LF, and no text becomes a formula.

    Names of classes, ids and texts come from whoever made the data. One that would be calculated gets a `'` before it,
    which spreadsheets show as text; a plain number such as the class `-1` stays as it is.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([no_formula(name) for name in columns])
    writer.writerows([no_formula(cell) for cell in row] for row in rows)
    return text.getvalue()


def no_formula(cell: Any) -> Any:
    """Return a cell that no spreadsheet calculates, see `csv_text`."""
    if not isinstance(cell, str):
        return cell
    # Python before 3.13 does not quote a CR, which ends a line for others.
    text = cell.replace("\r", "\\r")
    if not cell.startswith(FORMULA_STARTS):
        return text
    try:
        float(cell)
    except ValueError:
        return f"'{text}"
    return text


def read_json(path: Path, made_by: str = "") -> Any:
    """Return the content of a JSON file.

    Args:
        path: The file.
        made_by: Name of the stage that writes it, for the message when it is missing.

    Raises:
        FileNotFoundError: The file is missing; says which stage makes it.
    """
    if not path.is_file():
        fix = f" Run `dvc repro {made_by}`." if made_by else ""
        raise FileNotFoundError(f"{path} does not exist.{fix}")
    return json.loads(path.read_text(encoding="utf-8"))


def file_digest(path: Path, algorithm: str = "md5") -> str:
    """Return the hex digest of a file (`md5` is what DVC writes into `dvc.lock`)."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def path_digest(path: Path) -> str:
    """Return the md5 of a file, or of a folder as DVC computes it (`<md5>.dir`).

    Raises:
        FileNotFoundError: There is nothing at `path`.
    """
    if path.is_file():
        return file_digest(path)
    if not path.is_dir():
        raise FileNotFoundError(f"{path} does not exist.")
    return folder_digest(
        {
            file.relative_to(path).as_posix(): file_digest(file)
            for file in path.rglob("*")
            if file.is_file() and "__pycache__" not in file.parts
        }
    )


def folder_bytes(path: Path) -> int:
    """Return the size of a file, or of all files below a folder; 0 where there is nothing."""
    found = [path, *path.rglob("*")] if path.is_dir() and not path.is_symlink() else [path]
    return sum(item.lstat().st_size for item in found if item.is_symlink() or item.is_file())


def folder_digest(files: Mapping[str, str]) -> str:
    """Return the digest of a folder as DVC computes it.

    Args:
        files: Path below the folder, with slashes, to the md5 of each file.
    """
    text = json.dumps([{"md5": files[name], "relpath": name} for name in sorted(files)], sort_keys=True)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() + ".dir"


# --- Files that are complete or absent, and whose bytes follow from their content alone.


def content_key(content: object) -> str:
    """Return a sha256 (hex) of any JSON-serialisable value; equal values give equal keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def canonical_zip(source: Path | IO[bytes], path: Path, replace: dict[str, bytes] | None = None) -> None:
    """Rewrite a zip so that equal content gives equal bytes: sorted members, fixed dates, stored plain.

    Args:
        source: Any zip file, or an open one.
        path: Where the canonical one goes, all or nothing.
        replace: New content for single members.
    """
    replace = replace or {}
    with zipfile.ZipFile(source) as archive:
        write_zip(path, archive.namelist(), lambda name: replace.get(name, archive.read(name)))


def write_zip(path: Path, names: Iterable[str], read: Callable[[str], bytes]) -> None:
    """Write a zip whose bytes follow from its content: sorted members, fixed dates, stored plain; all or nothing.

    Args:
        path: The file.
        names: Of its members.
        read: Gives the content of one.
    """
    with (
        atomic_path(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as canonical,
    ):
        for name in sorted(names):
            info = zipfile.ZipInfo(name, ZIP_EPOCH)
            info.external_attr = 0o644 << 16
            canonical.writestr(info, read(name))


def finite(value: object, where: str) -> None:
    """Check that every number in a nested structure of dicts, lists and numbers is finite.

    Raises:
        ValueError: Names the first place that is not.
    """
    if isinstance(value, dict):
        for key, item in value.items():
            finite(item, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            finite(item, f"{where}[{index}]")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} is not a finite number. Received: {value}.")


# --- Files of JSON lines that only grow: a line is there completely, on the disk, or not at all.
#
# One writer at a time, by a lock on the file. Half a line that a crash left is cut off by the next writer and
# passed over by readers; a complete line that is no JSON object is damage, and never passed over: whoever
# counts lines would count too few.

Record = Mapping[str, Any]


def append_line(path: Path, record: Record) -> None:
    """Add a line and wait until the disk has it.

    Raises:
        OSError: The disk is full or failed; the line counts as not written.
    """
    append_lines(path, lambda _content: [record])


def append_lines(path: Path, choose: Callable[[bytes], Iterable[Record]]) -> None:
    """Add lines that depend on those that are there, and wait until the disk has them.

    Args:
        path: The file; made with its folder if it is new.
        choose: Gets the content, complete lines only, while nobody else writes; returns what to add.

    Raises:
        OSError: The disk is full or failed; the lines count as not written.
        StorageFailed: As `choose` does, if it reads a damaged line.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        lock_descriptor(descriptor, poll_interval=0.01)
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.ftruncate(descriptor, whole)
        lines = as_lines(choose(content[:whole]))
        if not lines:
            return
        written = os.write(descriptor, lines)
        if written != len(lines):
            # What fitted must not be taken for a line by whoever appends next.
            os.ftruncate(descriptor, whole)
            raise OSError(errno.ENOSPC, f"{written} of {len(lines)} bytes fit", str(path))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    # Also where the file was there: whoever made it may have died before this.
    fsync_dir(path.parent)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the complete lines of a file, none where there is no file.

    Raises:
        StorageFailed: A complete line is not a JSON object: the file was edited or damaged.
    """
    return parsed_lines(path.read_bytes(), path) if path.is_file() else []


def parsed_lines(content: bytes, path: Path) -> list[dict[str, Any]]:
    """Return the complete lines of a file's content; as `read_lines`."""
    return list(_records(content, path))


def lines_before_damage(path: Path) -> list[dict[str, Any]]:
    """Return the complete lines up to the first damaged one: of a file that only shows what is also kept elsewhere."""
    found: list[dict[str, Any]] = []
    if path.is_file():
        with suppress(StorageFailed):
            found.extend(_records(path.read_bytes(), path))
    return found


def as_lines(records: Iterable[Record]) -> bytes:
    """Return records as the lines of a file."""
    return b"".join(
        json.dumps(record, sort_keys=True, allow_nan=False, ensure_ascii=False).encode() + b"\n"
        for record in records
    )


def damaged(path: Path, number: int, line: bytes) -> StorageFailed:
    """Return the error that a line is not what was written there."""
    return StorageFailed(
        f"{path} is damaged at line {number}. Expected a JSON object as Millrace writes it. Received: {line[:60]!r}. "
        "Restore the file from a copy, or remove that line."
    )


def _records(content: bytes, path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(content.split(b"\n")[:-1], 1):
        try:
            record = json.loads(line)
        except ValueError as error:
            raise damaged(path, number, line) from error
        if not isinstance(record, dict):
            raise damaged(path, number, line)
        yield record

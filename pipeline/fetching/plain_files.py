"""Given files as readers take them: of a compressed file the one inside, of UTF-16 the same text as UTF-8.

Both are seen from the bytes, whatever a file is called, and done once, before anything is chosen or read: every kind of
source gets it. Pictures, arrays and Parquet are not looked into. What does not decode stays as it is; its reader says
where the fault is.
"""

import codecs
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from pipeline.fetching.archives import COMPRESSED, decompress, is_compressed
from pipeline.formats.tables import FORMATS, OLD_SPREADSHEET, TEXT_SUFFIXES, spreadsheet_refused
from pipeline.formats.text_file import not_throughout, recode, wide_by_mark, wide_codec
from pipeline.raw.left_out import NOT_READ
from pipeline.runtime.errors import DataRefused
from pipeline.sources.image_folder import SUFFIXES as IMAGES

NO_TEXT = IMAGES | NOT_READ | {".npy", ".npz", ".parquet", ".pq", ".zip", ".tar", ".tgz", *COMPRESSED}
PLAIN = TEXT_SUFFIXES | set(FORMATS)
SAMPLE_BYTES = 4096


def plain_name(name: str) -> str:
    """Return what a file is called inside: `a.csv` of `a.csv.gz`."""
    path = PurePosixPath(name)
    return str(path.with_suffix("")) if path.suffix.lower() in COMPRESSED else name


def plain_files(
    folder: Path, names: Sequence[str], into: Path, *, max_bytes: int
) -> tuple[dict[str, Path], list[str]]:
    """Return the files by their plain names, and in words what was done to some of them.

    A compressed file is opened where its suffix below tells a table or text (`.csv.gz`), or where it is the only file;
    one that lies beside its plain copy stays as it is.

    Args:
        folder: Where they lie.
        names: Relative to it, with `/`.
        into: A folder for what is made of them; need not exist.
        max_bytes: Limit of a file that is unpacked.

    Raises:
        NotPermitted: A decompression bomb.
        DataRefused: A damaged compressed file, or one that is too large.
    """
    files: dict[str, Path] = {}
    said: list[str] = []
    for name in names:
        path, plain = folder / name, plain_name(name)
        alone, suffix = len(names) == 1, PurePosixPath(plain).suffix.lower()
        new = plain == name or (plain not in names and plain not in files)
        if new and (alone or suffix in PLAIN) and _has_bytes(path, name) and is_compressed(path):
            path = _below(into, plain)
            decompress(folder / name, path, max_bytes=max_bytes)
            said.append(f"{name}: the one file inside is read")
            name = plain  # noqa: PLW2901  # what follows is about the file inside
        codec = _mark_of(path) if PurePosixPath(name).suffix.lower() not in NO_TEXT else ""
        if codec and (recoded := _recoded(path, codec, _below(into, f"{name}.utf-8"))):
            path = recoded
            said.append(f"{name}: {codec.upper()}, kept as UTF-8")
        files[name] = path
    return files, said


def recoded_files(files: Mapping[str, Path], option: str, into: Path) -> dict[str, Path]:
    """Return files whose encoding was stated as UTF-16 or UTF-32, as UTF-8; of other encodings as they are.

    Args:
        files: By name; those that `plain_files` has recoded by their mark are UTF-8 already.
        option: `encoding` as stated.
        into: As in `plain_files`.

    Raises:
        DataRefused: A text is not in the encoding that was stated.
    """
    codec = wide_codec(option)
    if not codec:
        return dict(files)
    made: dict[str, Path] = {}
    for name, path in files.items():
        made[name] = path
        if PurePosixPath(name).suffix.lower() in NO_TEXT or path.name.endswith(".utf-8"):
            continue
        with path.open("rb") as file:
            if is_utf_8_text(file.read(SAMPLE_BYTES)):
                raise DataRefused(
                    f"{name} is no {codec.upper()}. Expected NUL between the letters of ASCII. Received: UTF-8. Leave "
                    f"--set encoding={option} out."
                )
        made[name] = _below(into, f"{name}.stated.utf-8")
        with path.open("rb") as file, made[name].open("wb") as out:
            try:
                recode(file, codec, out.write)
            except UnicodeDecodeError as error:
                raise not_throughout(name, codec, error) from error
    return made


def refuse_spreadsheet(path: Path) -> None:
    """Refuse a workbook, whatever it is called: as a zip of XML it would be unpacked.

    Raises:
        DataRefused: With the command that converts it.
    """
    with path.open("rb") as file:
        old = file.read(8) == OLD_SPREADSHEET
    if old or _is_workbook(path):
        raise spreadsheet_refused(path.name)


def _is_workbook(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    return "xl/workbook.xml" in names or "xl/workbook.bin" in names or names[:1] == ["mimetype"]


def _has_bytes(path: Path, name: str) -> bool:
    return PurePosixPath(name).suffix.lower() not in (NO_TEXT - set(COMPRESSED)) and path.is_file()


def is_utf_8_text(begin: bytes) -> bool:
    """Tell whether a file begins as text of UTF-8 does: UTF-16 has NUL, or bytes that UTF-8 does not know."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(begin)
    except UnicodeDecodeError:
        return False
    return b"\0" not in begin


def _mark_of(path: Path) -> str:
    with path.open("rb") as file:
        return wide_by_mark(file.read(4))


def _recoded(path: Path, codec: str, made: Path) -> Path | None:
    """Return the text as UTF-8, or None where it is not in that encoding throughout."""
    try:
        with path.open("rb") as file, made.open("wb") as out:
            recode(file, codec, out.write)
    except UnicodeDecodeError:
        made.unlink()
        return None
    return made


def _below(folder: Path, name: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path

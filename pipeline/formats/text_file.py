"""A file of an archive, and of text: which encoding it has (stated, or found out by one rule and shown), and its lines.

`auto` is UTF-8 where every byte fits; else cp1252 (Windows, Western Europe) where the bytes beyond ASCII
do not look like damaged UTF-8 and cp1252 knows them all. Latin-1 must be stated: it accepts any byte, and
differs from cp1252 only in 80 to 9F (where 85 is NEL in the one and an ellipsis in the other).
"""

import codecs
import re
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from typing import IO, NamedTuple

from pipeline.formats.problems import Problems, shown
from pipeline.runtime.errors import DataRefused, WronglyCalled

Encoding = str
EncodingOption = str
"""auto, or a codec of Python that leaves ASCII as it is: utf-8, cp1252, latin-1, cp1251, gb18030, shift_jis ..."""
OFTEN = (
    "cp1250",
    "cp1251",
    "cp1253",
    "cp1254",
    "koi8-r",
    "mac_roman",
    "cp850",
    "shift_jis",
    "gb18030",
    "big5",
    "euc_kr",
)
"""What is tried, to show how a file would read, where it is neither UTF-8 nor cp1252."""
SHOWN_READINGS = 4
CHUNK_BYTES = 1 << 20
BOM = codecs.BOM_UTF8
UTF_16_BOMS = (
    codecs.BOM_UTF16_LE,
    codecs.BOM_UTF16_BE,
)  # those of UTF-32 begin like one of them, or with NUL
NOT_IN_CP1252 = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")
UTF_8_SEQUENCE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
ASCII = bytes(range(128))
MAX_LINE_BYTES = 1 << 24
"""Of one line, and of one record over several lines. What is longer has lost its line breaks or a quote."""


class Line(NamedTuple):
    """One line of a file.

    Attributes:
        number: Counted from 1.
        text: Without its end.
        end: How it ended: LF, CR LF, or nothing at the end of the file.
    """

    number: int
    text: str
    end: str


def open_member(archive: tarfile.TarFile, member: str | tarfile.TarInfo) -> IO[bytes]:
    """Return a file of an archive, to be closed by the caller.

    Raises:
        DataRefused: It is no regular file.
    """
    file = archive.extractfile(member)
    if file is None:
        name = member if isinstance(member, str) else member.name
        raise DataRefused(f"{name} is no regular file. Run `millrace init` on the original data.")
    return file


def lines(
    file: IO[bytes], name: str, encoding: Encoding, problems: Problems, *, first: int = 1
) -> Iterator[Line]:
    """Yield the lines of a file, one at a time.

    Only LF, with or without CR before it, ends a line: NEL, form feeds and the like stay in the text. A byte
    order mark of UTF-8 at the start is taken off. NUL and bytes that do not fit the encoding are problems;
    a line that has one is yielded with replacement characters, so that what follows is still understood.

    Args:
        file: Opened at its start, or at that of a later line.
        name: For messages.
        encoding: See `encoding_of`.
        problems: Where problems are kept.
        first: Number of the first line.

    Raises:
        DataRefused: A line longer than 16 MiB.
    """
    number = first - 1
    while raw := file.readline(MAX_LINE_BYTES + 2):
        number += 1
        if number == 1 and encoding == "utf-8":
            raw = raw.removeprefix(BOM)
        if len(raw) > MAX_LINE_BYTES:
            raise DataRefused(
                f"{name}, line {number} is too long. Expected at most {MAX_LINE_BYTES:,} bytes and LF or CR LF at "
                f"its end. Received: {MAX_LINE_BYTES:,} bytes or more. Convert the line ends, or split the file."
            )
        text = _decoded(raw, name, number, encoding, problems)
        if text.endswith("\n"):
            end = "\r\n" if text.endswith("\r\n") else "\n"
            yield Line(number, text[: -len(end)], end)
        else:
            yield Line(number, text, "")


def encoding_of(file: IO[bytes], name: str, option: EncodingOption) -> tuple[Encoding, bool]:
    """Return the encoding of a file, and whether it begins with a byte order mark of UTF-8.

    The whole file is read for `auto`, in pieces; the position is back at the start afterwards.

    Args:
        file: Opened at its start, seekable.
        name: For messages.
        option: `auto`, or what the user stated, which is not questioned here.

    Raises:
        DataRefused: UTF-16; or `auto` meets bytes that are neither UTF-8 nor cp1252.
        WronglyCalled: Python knows no such encoding, or it is none of lines of text with ASCII in them.
    """
    if option != "auto":
        _check_codec(option)
    start = file.read(4)
    file.seek(0)
    if start.startswith(UTF_16_BOMS):
        raise DataRefused(
            f"{name} is UTF-16. Expected UTF-8, or an encoding that leaves ASCII as it is. Received: the byte "
            f"order mark {start[:2].hex(' ')}. Convert it: iconv -f UTF-16 -t UTF-8."
        )
    if option != "auto":
        return option, start.startswith(BOM) and option == "utf-8"
    first_bad = _first_byte_not_utf_8(file)
    file.seek(0)
    if first_bad is None:
        return "utf-8", start.startswith(BOM)
    _check_cp1252(file, name, first_bad)
    file.seek(0)
    return "cp1252", False


def encoding_in_words(encoding: Encoding, *, bom: bool = False) -> str:
    """Return the encoding as people write it."""
    words = {"utf-8": "UTF-8", "latin-1": "Latin-1"}.get(encoding, encoding)
    return f"{words} with byte order mark" if bom else words


def _decoded(raw: bytes, name: str, number: int, encoding: Encoding, problems: Problems) -> str:
    if b"\0" in raw:
        problems.add(
            f"{name}, line {number}, byte {raw.index(0) + 1}",
            "text",
            "a NUL byte",
            "Remove NUL bytes; many of them mean UTF-16 (iconv -f UTF-16 -t UTF-8) or a file that is no text.",
        )
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        bad = raw[error.start : error.end].hex(" ")
        problems.add(
            f"{name}, line {number}, byte {error.start + 1}",
            encoding_in_words(encoding),
            f"the bytes {bad} in {shown(raw[max(0, error.start - 12) : error.end + 12])}",
            "Repair these lines, or state the right encoding: --set encoding=cp1252, latin-1, cp1251, gb18030, ...",
        )
        return raw.decode(encoding, errors="replace")


def _first_byte_not_utf_8(file: IO[bytes]) -> int | None:
    """Return the offset of the first byte that breaks UTF-8, or None."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset = 0
    while chunk := file.read(CHUNK_BYTES):
        pending = len(decoder.getstate()[0])
        try:
            decoder.decode(chunk)
        except UnicodeDecodeError as error:
            return offset - pending + error.start
        offset += len(chunk)
    rest = len(decoder.getstate()[0])
    return offset - rest if rest else None


def _check_cp1252(file: IO[bytes], name: str, first_bad: int) -> None:
    """Refuse a file that is not UTF-8 and not clearly cp1252 either."""
    sequences = single = 0
    unknown = False
    while chunk := file.read(CHUNK_BYTES):
        found = UTF_8_SEQUENCE.findall(chunk)
        sequences += len(found)
        single += len(chunk.translate(None, ASCII)) - sum(map(len, found))
        unknown = unknown or NOT_IN_CP1252.search(chunk) is not None
    # One flipped bit in a UTF-8 file must not turn every accent of it into two strange characters.
    if not unknown and single > sequences:
        return
    reason = "holds bytes that cp1252 does not know" if unknown else "looks like damaged UTF-8"
    raise DataRefused(
        f"The encoding of {name} cannot be told: it {reason}. Expected UTF-8, or cp1252. Received: "
        f"{sequences} sequences of UTF-8 and {single} other bytes beyond ASCII, the first at byte {first_bad + 1}. "
        f"Repair the file, or state what it is: --set encoding=utf-8 (names the lines), or the one of these that reads "
        f"right: {_readings(file)}."
    )


def _check_codec(option: str) -> None:
    try:
        plain = all(text.decode(option) == text.decode("ascii") for text in (ASCII, rb"\u0041\n"))
    except (LookupError, UnicodeError, ValueError, TypeError):
        plain = False
    if not plain:
        raise WronglyCalled(
            f"encoding={option} cannot be read. Expected auto, or a codec of Python that leaves ASCII as it is, such "
            f"as utf-8, cp1252, latin-1, {', '.join(OFTEN)}. Received: encoding={option}. Convert others: iconv -f "
            "NAME -t UTF-8."
        )


def first_beyond_ascii(file: IO[bytes]) -> bytes:
    """Return the first line that is not ASCII alone, of the first MiB; the position is at the start afterwards."""
    file.seek(0)
    sample = file.read(CHUNK_BYTES)
    file.seek(0)
    return next((line for line in sample.splitlines() if not line.isascii()), b"")


def _readings(file: IO[bytes]) -> str:
    """Return how one line of a file reads in encodings that people use."""
    line = first_beyond_ascii(file)
    at = next((place for place, byte in enumerate(line) if byte > 127), 0)
    found: dict[str, str] = {}
    for codec in ("latin-1", *OFTEN):
        with suppress(UnicodeDecodeError):
            whole = line.decode(codec)
            before = len(line[:at].decode(codec, errors="ignore"))
            found.setdefault(shown(whole[max(0, before - 10) : before + 30]), codec)
    return "; ".join(
        f"--set encoding={codec} ({text})" for text, codec in list(found.items())[:SHOWN_READINGS]
    )

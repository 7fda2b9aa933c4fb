"""A file of an archive, and of text: which encoding it has (stated, or found out by one rule and shown), and its lines.

`auto` is UTF-8 where every byte fits; else cp1252 (Windows, Western Europe) where the bytes beyond ASCII do not look
like damaged UTF-8, nor like another script or language, and cp1252 knows them all. Latin-1 must be stated: it accepts
any byte, and differs from cp1252 only in 80 to 9F (where 85 is NEL in the one and an ellipsis in the other).

Files of UTF-16 and UTF-32 are kept as UTF-8 (`recode`, `pipeline/fetching/plain_files.py`): whoever reads lines looks
for the byte LF.
"""

import codecs
import re
import shlex
import tarfile
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import PurePosixPath
from typing import IO, NamedTuple

from pipeline.formats.alphabets import by_fit, latin_codec
from pipeline.formats.problems import Problems, shown
from pipeline.runtime.errors import DataRefused, WronglyCalled

Encoding = str
EncodingOption = str
"""auto, or a codec of Python that leaves ASCII as it is: utf-8, cp1252, latin-1, cp1251, gb18030, shift_jis ...; or
utf-16 and utf-32, also with -le or -be, of which the archive keeps UTF-8."""
OFTEN = (
    "cp1250",
    "cp1251",
    "cp1253",
    "cp1254",
    "cp1257",
    "iso8859_2",
    "koi8-r",
    "mac_roman",
    "cp850",
    "cp852",
    "shift_jis",
    "gb18030",
    "big5",
    "euc_kr",
)
"""What is tried, to show how a file would read, where it is neither UTF-8 nor cp1252."""
SHOWN_READINGS = 4
DETECTED_BYTES = 1 << 14
SCRIPTS = {
    "big5hkscs": "big5hkscs",
    "gbk": "gb18030",
    "gb2312": "gb18030",
    "shift_jis": "cp932",
    "shift_jis_2004": "cp932",
    "shift_jisx0213": "cp932",
    "euc_kr": "cp949",
    **{
        name: name
        for name in ("cp1250", "cp1251", "koi8_r", "koi8_u", "cp866", "iso8859_5", "cp1253", "iso8859_7", "cp1255",
                     "cp1256", "cp932", "euc_jp", "gb18030", "big5", "cp949")
    },
}  # fmt: skip
"""What the detector says, and what to state then: codecs of other letters than Western ones that people use."""
ALIKE = (("cp932", "gb18030", "big5", "cp949"), ("cp1251", "koi8_r", "cp866"))
"""What the detector takes for one another in few lines."""
FEWEST_BYTES = 16
"""Beyond ASCII: of fewer nobody can tell."""
WORD = re.compile(rb"[A-Za-z]+")
BEYOND_ASCII = re.compile(rb"[\x80-\xff]+")
CHUNK_BYTES = 1 << 20
BOM = codecs.BOM_UTF8
WIDE_BOMS = {
    codecs.BOM_UTF32_LE: "utf-32",  # begins like that of UTF-16
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
WIDE = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be")
"""Encodings of two or four bytes per character."""
WIDE_SAMPLE = 4096
FEWEST_WIDE = 4
"""Characters; of fewer NUL between them says nothing."""
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
        DataRefused: What was not recoded because it is no UTF-16 throughout, or has no mark and nobody said so; or
            `auto` meets bytes that are neither UTF-8 nor cp1252.
        WronglyCalled: Python knows no such encoding, or it is none of lines of text with ASCII in them.
    """
    if wide_codec(option):
        option = "utf-8"  # as `recode` has left it
    if option != "auto":
        _check_codec(option)
    start = file.read(WIDE_SAMPLE)
    file.seek(0)
    if codec := wide_by_mark(start):
        raise _damaged_wide(file, name, codec)
    if codec := wide_by_zeros(start):
        raise DataRefused(
            f"{name} looks like {codec.upper()} without a byte order mark. Expected UTF-8, or an encoding that leaves "
            f"ASCII as it is. Received: NUL where {codec.upper()} has it. Say so: --set encoding={codec}."
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


def wide_codec(option: EncodingOption) -> str:
    """Return the name of a stated encoding of two or four bytes per character; "" of any other."""
    try:
        name = codecs.lookup(option).name
    except (LookupError, ValueError):
        return ""
    return name if name in WIDE else ""


def wide_by_mark(start: bytes) -> str:
    """Return `utf-16` or `utf-32` where a file begins with its byte order mark; else ""."""
    return next((codec for mark, codec in WIDE_BOMS.items() if start.startswith(mark)), "")


def recode(file: IO[bytes], codec: str, write: Callable[[bytes], object]) -> None:
    """Pass on a text as UTF-8, a piece at a time; nothing is replaced.

    Args:
        file: Opened at its start.
        codec: One of `WIDE`; those without an order of bytes take it from the mark, which is not passed on.
        write: Takes the pieces.

    Raises:
        UnicodeDecodeError: With the offset in the file as `start`.
    """
    decoder = codecs.getincrementaldecoder(codec)()
    offset, more = 0, True
    while more:
        chunk = file.read(CHUNK_BYTES)
        more = bool(chunk)
        pending = len(decoder.getstate()[0])
        try:
            write(decoder.decode(chunk, final=not more).encode())
        except UnicodeDecodeError as error:
            start = offset - pending + error.start
            raise UnicodeDecodeError(codec, error.object, start, start + 1, error.reason) from error
        offset += len(chunk)


def not_throughout(name: str, codec: str, error: UnicodeDecodeError) -> DataRefused:
    """Return the refusal of a text that is only in part in the encoding that it should be in."""
    return DataRefused(
        f"{name} is not {codec.upper()} throughout. Expected whole characters up to the end. Received: {error.reason} "
        f"at byte {error.start + 1}. Write or download it again, or leave out what cannot be read: "
        f"iconv -c -f {codec.upper()} -t UTF-8 {shlex.quote(name)} > repaired{PurePosixPath(name).suffix}."
    )


def _damaged_wide(file: IO[bytes], name: str, codec: str) -> DataRefused:
    """Return why a file that begins like UTF-16 was not recoded; its position is at the start afterwards."""
    try:
        recode(file, codec, len)
    except UnicodeDecodeError as error:
        return not_throughout(name, codec, error)
    finally:
        file.seek(0)
    return DataRefused(
        f"{name} is {codec.upper()}. Expected UTF-8, as archives keep it. Received: the byte order mark of "
        f"{codec.upper()}. Run `millrace init` on the original data."
    )


def wide_by_zeros(start: bytes) -> str:
    """Return the encoding in which mostly ASCII has NUL just where it is here; "" where there is none."""
    for codec, width, place in (
        ("utf-32-le", 4, 0),
        ("utf-32-be", 4, 3),
        ("utf-16-le", 2, 0),
        ("utf-16-be", 2, 1),
    ):
        characters = len(start) // width
        zeros = [start[byte::width].count(0) for byte in range(width)]
        others = [count for byte, count in enumerate(zeros) if byte != place]
        if characters >= FEWEST_WIDE and not zeros[place] and min(others) > characters // 2:
            return codec
    return ""


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
            "Remove NUL bytes; many of them mean UTF-16, or a file that is no text.",
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
        codec = _other_script(file) or latin_codec(_sample(file))
        if codec:
            others = next((alike for alike in ALIKE if codec in alike), ())
            raise DataRefused(
                f"The encoding of {name} cannot be told: every byte of it is one of cp1252, and it looks like another "
                f"script or language. Expected letters of Western Europe. Received: bytes that read in several ways. "
                f"State the one that reads right: {_readings(file, (codec, *others, 'cp1252'), most=6)}."
            )
        return
    reason = "holds bytes that cp1252 does not know" if unknown else "looks like damaged UTF-8"
    sample = _sample(file)
    tried = by_fit(sample, [*filter(None, [_detected(sample)]), *OFTEN, "latin-1"])
    raise DataRefused(
        f"The encoding of {name} cannot be told: it {reason}. Expected UTF-8, or cp1252. Received: "
        f"{sequences} sequences of UTF-8 and {single} other bytes beyond ASCII, the first at byte {first_bad + 1}. "
        f"Repair the file, or state what it is: --set encoding=utf-8 (names the lines), or the one of these that reads "
        f"right: {_readings(file, tried)}."
    )


def _check_codec(option: str) -> None:
    try:
        plain = all(text.decode(option) == text.decode("ascii") for text in (ASCII, rb"\u0041\n"))
    except (LookupError, UnicodeError, ValueError, TypeError):
        plain = False
    if not plain:
        raise WronglyCalled(
            f"encoding={option} cannot be read. Expected auto, or a codec of Python that leaves ASCII as it is, such "
            f"as utf-8, cp1252, latin-1, {', '.join(OFTEN)}; or {', '.join(WIDE)}. Received: encoding={option}. "
            "Convert others: iconv -f NAME -t UTF-8."
        )


def first_beyond_ascii(file: IO[bytes]) -> bytes:
    """Return the first line that is not ASCII alone, of the first MiB; the position is at the start afterwards."""
    file.seek(0)
    sample = file.read(CHUNK_BYTES)
    file.seek(0)
    return next((line for line in sample.splitlines() if not line.isascii()), b"")


def _sample(file: IO[bytes]) -> bytes:
    """Return some lines of the first MiB that are not ASCII alone; the position is at the start afterwards."""
    file.seek(0)
    found = [line for line in file.read(CHUNK_BYTES).splitlines() if not line.isascii()]
    file.seek(0)
    return b"\n".join(found)[:DETECTED_BYTES]


def _detected(sample: bytes) -> str:
    """Return the one of `SCRIPTS` that charset-normalizer takes a sample for, or "".

    It is right about scripts and wrong about languages of the Latin one (docs/log.md): for an advice, or a doubt.
    """
    from charset_normalizer import from_bytes

    best = from_bytes(sample).best()
    return SCRIPTS.get(best.encoding, "") if best else ""


def _other_script(file: IO[bytes]) -> str:
    """Return the codec in which a file that fits cp1252 reads as a script other than Latin; "" where there is none.

    Letters beyond ASCII are few and stand alone between others in Latin text; in another script they are most letters,
    and next to each other.
    """
    sample = _sample(file)
    runs = [len(run) for run in BEYOND_ASCII.findall(sample)]
    few = 2 * sum(runs) < sum(map(len, WORD.findall(sample)))
    western = sample.decode("cp1252", errors="ignore")
    signs = sum(ord(sign) > 127 and not sign.isalpha() for sign in western)
    if few or sum(runs) < FEWEST_BYTES or 5 * signs > 4 * sum(runs):
        return ""
    if 2 * sum(run for run in runs if run > 2) < sum(runs):
        return ""
    codec = _detected(sample)
    letters = [sign for sign in sample.decode(codec or "cp1252", errors="ignore") if ord(sign) > 127]
    others = [
        sign for sign in letters if sign.isalpha() and not unicodedata.name(sign, "LATIN").startswith("LATIN")
    ]
    return codec if 2 * len(others) > len(letters) else ""


def _readings(file: IO[bytes], codecs_tried: Iterable[str], most: int = SHOWN_READINGS) -> str:
    """Return how one line of a file reads in some encodings."""
    line = first_beyond_ascii(file)
    at = next((place for place, byte in enumerate(line) if byte > 127), 0)
    found: dict[str, str] = {}
    for codec in codecs_tried:
        with suppress(UnicodeDecodeError):
            whole = line.decode(codec)
            before = len(line[:at].decode(codec, errors="ignore"))
            found.setdefault(shown(whole[max(0, before - 10) : before + 30]), codec)
    return "; ".join(f"--set encoding={codec} ({text})" for text, codec in list(found.items())[:most])

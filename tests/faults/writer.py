"""What the sweep needs to know of a durable writer."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


class Torn(Exception):
    """What lies there is no version that was ever written."""


@dataclass(frozen=True)
class Writer:
    """A durable writer.

    Attributes:
        write: Writes version n into the working directory.
        read: Returns the number of the version that a reader finds there.
        rounds: How many versions one process writes one after the other.
        prepare: Makes what version 0 needs.
        ignored: How the names of files begin that may be left behind, or that have another name each time.
        service: Whether a failing disk shows as a store that does not answer.
        may_crash: Whether a library in it dies of some faults (HDF5 does, by SIGSEGV): a crash is a pause too.
        dear: Whether a point takes long, so that a short run tries fewer.
    """

    write: Callable[[int], None]
    read: Callable[[], int]
    rounds: int
    prepare: Callable[[], None] = lambda: None
    ignored: tuple[str, ...] = ()
    service: bool = False
    may_crash: bool = False
    dear: bool = False


def file_writer(path: str, write: Callable[[Path, int], None], rounds: int) -> Writer:
    """Return the writer of one file whose bytes follow from the number of the version."""
    known: dict[bytes, int] = {}

    def read() -> int:
        for number in range(rounds + 2 if not known else 0):
            elsewhere = Path("../reference", path)
            write(elsewhere, number)
            known[hashlib.sha256(elsewhere.read_bytes()).digest()] = number
        content = Path(path).read_bytes()
        found = known.get(hashlib.sha256(content).digest())
        if found is None:
            raise Torn(f"{path}: {len(content)} bytes that nobody wrote")
        return found

    return Writer(lambda number: write(Path(path), number), read, rounds)

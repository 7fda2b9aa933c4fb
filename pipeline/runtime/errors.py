"""What can go wrong, in words that say the fix, each kind with its exit code (docs/guides/exit-codes.md)."""

import re
from collections.abc import Sequence
from typing import IO

Place = tuple[str, ...]


class ParamsError(ValueError):
    """The parameters cannot be used.

    Attributes:
        problems: One complete message per problem.
        places: Where the problems are, keys from the outside in, as far as they belong to a key.
    """

    def __init__(self, problems: list[str], places: Sequence[Place] = ()) -> None:
        self.problems = problems
        self.places = list(places)
        super().__init__("\n".join(problems))


class UserError(Exception):
    """A problem that the user can mend; the message says how."""

    exit_code = 70
    meaning = "internal error"


class ProgramFailed(UserError):
    """A stage or another program that was started failed, with an exit code of its own."""

    def __init__(self, message: str, exit_code: int, meaning: str) -> None:
        self.exit_code = exit_code
        self.meaning = meaning
        super().__init__(message)


class WronglyCalled(UserError):
    """The options of a command do not fit together."""

    exit_code = 64
    meaning = "wrongly called"


class GateRefused(UserError):
    """All went well, and the new model is not the champion."""

    exit_code = 3
    meaning = "the gate refused"


class DataRefused(UserError):
    """The data is not fit for training."""

    exit_code = 65
    meaning = "data refused"


class InputMissing(UserError):
    """A file that an earlier step makes is not there."""

    exit_code = 66
    meaning = "input missing"


class ServiceDown(UserError):
    """A server did not answer."""

    exit_code = 69
    meaning = "service down"


class AnswersDiffer(UserError):
    """Two programs that must give the same answers do not; the one at fault is ours, or one that we build on."""


class StorageFailed(UserError):
    """Reading or writing failed, or stored bytes are damaged."""

    exit_code = 74
    meaning = "input/output error"


class Busy(UserError):
    """Somebody else is at it; the same command works later."""

    exit_code = 75
    meaning = "busy, try again"


class NotPermitted(UserError):
    """Refused for safety, or by the file system."""

    exit_code = 77
    meaning = "not permitted"


class Misconfigured(UserError):
    """A setting of the environment cannot be used."""

    exit_code = 78
    meaning = "configuration refused"


class Terminated(BaseException):
    """SIGTERM arrived."""


# --- Messages hold names out of people's data: a class may be called `ESC ] 0 ; title BEL`.

CONTROLS = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u202a-\\u202e\\u2066-\\u2069]")
"""Of terminals (C0 but tab and line feed, DEL, C1), and what overrides the direction of writing."""


def visible(text: str) -> str:
    """Return a text with its control characters as their codes, so that it can be shown on any terminal."""
    return CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def say(text: str, *, end: str = "\n", file: IO[str] | None = None) -> None:
    """Print a text that may hold something out of people's data; on standard output, or in `file`."""
    print(visible(text), end=end, file=file, flush=True)

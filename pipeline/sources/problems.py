"""All problems of the files at once, each with its place, instead of one per attempt."""

from pipeline.runtime import DataRefused

LIMIT = 20
"""Reading stops here: a file with so many problems is read by the wrong rules, and says nothing new."""
SHOWN_CHARACTERS = 60


class Problems:
    """Collects what is wrong with the given files, in the order of reading.

    Attributes:
        count: How many problems there are so far.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self.count = 0
        self._limit = limit
        self._lines: list[str] = []
        self._fixes: dict[str, None] = {}

    def add(self, place: str, expected: str, received: str, fix: str) -> None:
        """Keep one problem.

        Args:
            place: File, line and where it is known column (counted from 1): `train.csv, line 7, column 3`.
            expected: What belongs there.
            received: What is there; see `shown`.
            fix: What to do; named once however often it is needed.

        Raises:
            DataRefused: There are so many now that reading on makes no sense.
        """
        self.count += 1
        self._lines.append(f"  {place}: expected {expected}; received {received}")
        self._fixes[fix] = None
        if self.count >= self._limit:
            raise self._refusal(stopped=True)

    def check(self) -> None:
        """Refuse the files if there was any problem.

        Raises:
            DataRefused: Naming all of them.
        """
        if self.count:
            raise self._refusal(stopped=False)

    def _refusal(self, *, stopped: bool) -> DataRefused:
        count = f"The first {self.count} problems, where reading stopped" if stopped else _counted(self.count)
        return DataRefused(
            "\n".join(
                ["The files cannot be read as they are.", *self._lines, f"{count}. {' '.join(self._fixes)}"]
            )
        )


def shown(value: object) -> str:
    """Return what was received, in quotes and shortened, for a message of one line."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 3]}..."


def _counted(count: int) -> str:
    return "1 problem" if count == 1 else f"{count} problems"

"""A writer at every point where the kernel can fail it or kill it: `python -m tests.faults.sweep NAME --all`.

Per point a new folder with version 0 in it, a process that writes the next versions and meets the fault, a look at
what it left, and the interrupted command once more.
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.faults.injection import SYSCALLS, Ending, Fault, errors_of, parsed, run
from tests.faults.writer import Torn, Writer
from tests.faults.writers import WRITERS

SERVICE_DOWN, STORAGE, PERMISSION, KILLED, CRASHED = 69, 74, 77, 137, 139

MOST_OF_DEAR = 320
"""A new store alone has 25,000 points, which take hours and say the same."""


class Sweep:
    """All points of one writer.

    Args:
        writer: The writer.
        base: An empty folder for everything.
    """

    def __init__(self, writer: Writer, base: Path) -> None:
        self.writer, self.base = writer, base
        self.template = base / "template" / "project"
        self.template.mkdir(parents=True)
        os.chdir(self.template)
        writer.prepare()
        writer.write(0)
        if writer.read() != 0:
            raise Torn("version 0 does not read as version 0")
        ending, self.names = self._undisturbed()
        self.counts = ending.counts

    def points(self) -> list[Fault]:
        """Return all faults: every call of every kind that a quiet run makes, with every error."""
        return [
            Fault(syscall, number, error)
            for syscall in SYSCALLS
            for number in range(1, self.counts[syscall] + 1)
            for error in errors_of(syscall)
        ]

    def problems(self, fault: Fault) -> Iterator[str]:
        """Yield what is wrong after one fault: nothing, if all is well."""
        folder = self._folder()
        ending = run(self.writer.write, 1, self.writer.rounds, fault, self.base / "trace")
        yield from self._ending_problems(fault, ending)
        try:
            found = self.writer.read()
            if found not in (ending.acknowledged, ending.acknowledged + 1):
                yield f"{fault}: {ending.acknowledged} was written, {found} is read ({ending.how})"
            again = min(ending.acknowledged + 1, self.writer.rounds)
            self.writer.write(again)
            found = self.writer.read()
            if found != again:
                yield f"{fault}: {again} was written after it, {found} is read"
        except Exception as error:
            yield f"{fault}: {type(error).__name__}: {error} ({ending.how})"
        strays = sorted(self._present() - self.names)
        if strays:
            yield f"{fault}: left behind after the next run: {', '.join(strays)}"
        self._leave(folder)

    def _ending_problems(self, fault: Fault, ending: Ending) -> Iterator[str]:
        finished = ending.how == "finished" and ending.acknowledged == self.writer.rounds
        expected = {"KILL": KILLED, "EACCES": PERMISSION}.get(fault.error, STORAGE)
        # The database is a service that does not answer; what it asks of the files beside it may fail in turn.
        answers = (SERVICE_DOWN, STORAGE) if self.writer.service and fault.error != "KILL" else ()
        # A fault may be harmless, as that of a second removal; one that stops the writer has its exit code.
        crashed = self.writer.may_crash and ending.exit_code == CRASHED
        if not finished and not crashed and ending.exit_code not in (expected, *answers):
            yield f"{fault}: exit code {ending.exit_code} instead of {expected}: {ending.how}"

    def _undisturbed(self) -> tuple[Ending, frozenset[str]]:
        folder = self._folder()
        ending = run(self.writer.write, 1, self.writer.rounds, None, self.base / "trace")
        if (ending.how, self.writer.read()) != ("finished", self.writer.rounds):
            raise Torn(f"without a fault: {ending}")
        names = self._present()
        self._leave(folder)
        return ending, names

    def _folder(self) -> Path:
        """Stand in a copy of the template; temporary files of this point are below it too."""
        # Never the same place twice: libraries keep connections to a database of that name.
        folder = Path(tempfile.mkdtemp(prefix="point-", dir=self.base))
        shutil.copytree(self.template, folder / "project", symlinks=True)
        (folder / "tmp").mkdir()
        tempfile.tempdir = str(folder / "tmp")
        os.chdir(folder / "project")
        return folder

    def _leave(self, folder: Path) -> None:
        os.chdir(self.base)
        tempfile.tempdir = None
        shutil.rmtree(folder)

    def _present(self) -> frozenset[str]:
        """Return the files of the project and of its temporary folder, without those that may be any number."""
        found = [path for path in Path().rglob("*") if path.is_file() or path.is_symlink()]
        names = {path.as_posix() for path in [*found, *Path("../tmp").glob("*")]}
        return frozenset(name for name in names if not name.startswith(self.writer.ignored))


def chosen(points: Sequence[Fault], count: int, seed: int) -> list[Fault]:
    """Return so many of the points, the same for the same seed."""
    return sorted(random.Random(seed).sample(points, min(count, len(points))))


def main() -> None:
    """Sweep one writer; exit code 1 if a point shows a problem."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("writer", choices=WRITERS)
    parser.add_argument("--all", action="store_true", help="every point; 320 of a dear writer")
    parser.add_argument("--sample", type=int, default=20, help="how many points otherwise")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--points", nargs="*", type=parsed, default=[], help="these as well, `fsync:3:EIO`")
    arguments = parser.parse_args()
    base = Path(tempfile.mkdtemp(prefix="faults-")).resolve()
    sweep = Sweep(WRITERS[arguments.writer], base)
    points = sweep.points()
    dear = WRITERS[arguments.writer].dear
    count = (MOST_OF_DEAR if dear else len(points)) if arguments.all else arguments.sample
    tried = chosen(points, count, arguments.seed)
    tried = [*arguments.points, *tried]
    found = [f"{fault}: there is no such call any more" for fault in arguments.points if fault not in points]
    found += [problem for fault in tried for problem in sweep.problems(fault)]
    os.chdir("/")
    shutil.rmtree(base)
    print("\n".join(found))
    print(
        f"{arguments.writer}: seed {arguments.seed}, {len(tried)} of {len(points)} points, {len(found)} problems"
    )
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()

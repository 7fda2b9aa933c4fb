"""What a retrain has finished, on the disk before the next step begins, so that a crash is only a pause."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.runtime import processes
from pipeline.runtime.json_lines import append_line, read_lines

Facts = dict[str, Any]


@dataclass
class Run:
    """One retrain, from `begin` to `end`, over as many calls as it takes.

    Attributes:
        path: The journal.
        run_id: When it began, and the process that began it.
        facts: Step to what it found out, for every step that is finished.
        seconds: Step to how long it took, all attempts together.
        stops: How earlier calls of it ended: step, exit code, message.
        rounds: How often it began anew because somebody else had pushed.
        step: The step that is going on.
    """

    path: Path
    run_id: str
    facts: dict[str, Facts] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    stops: list[Facts] = field(default_factory=list)
    rounds: int = 0
    step: str = ""

    def once(self, step: str, action: Callable[[], Facts]) -> Facts:
        """Return the facts of a step: those written down if it is finished, else of doing it now."""
        if step not in self.facts:
            self.step = step
            started = time.monotonic()
            facts = action()
            self._write("done", step=step, facts=facts, seconds=round(time.monotonic() - started, 2))
        return self.facts[step]

    def begin_again(self, why: str) -> None:
        """Forget all finished steps: what they stand on has moved."""
        self._write("again", why=why)

    def start_over(self, why: str) -> None:
        """Forget all finished steps, without counting a round: the followed branch has moved."""
        self._write("over", why=why)

    def fails_again(self, exit_code: int) -> bool:
        """Return whether the call before this one ended at the same step with the same code."""
        return bool(self.stops) and (self.stops[-1]["step"], self.stops[-1]["exit_code"]) == (
            self.step,
            exit_code,
        )

    def stop(self, exit_code: int, message: str) -> None:
        """Write down that this call ends here and another may go on."""
        self._write("stopped", step=self.step, exit_code=exit_code, message=message)

    def end(self) -> None:
        """Write down that nothing of this retrain is left to do."""
        self._write("end")

    def _write(self, event: str, **content: Any) -> None:
        record = {"run": self.run_id, "event": event, "at": processes.now().isoformat(), **content}
        append_line(self.path, record)
        self._take(record)

    def _take(self, record: Facts) -> None:
        event = record["event"]
        if event == "done":
            step = record["step"]
            self.facts[step] = record["facts"]
            self.seconds[step] = round(self.seconds.get(step, 0.0) + record["seconds"], 2)
        elif event == "again":
            self.facts.clear()
            self.rounds += 1
        elif event == "over":
            self.facts.clear()
        elif event == "stopped":
            self.stops.append({name: record[name] for name in ("step", "exit_code", "message", "at")})


def begin(path: Path) -> Run:
    """Begin a retrain in an empty journal: of an ended one the history tells."""
    path.unlink(missing_ok=True)
    run = Run(path, f"{processes.now():%Y%m%dT%H%M%S.%fZ}-{os.getpid()}")
    run._write("begin")  # noqa: SLF001  # the module's own class
    return run


def unfinished(path: Path) -> Run | None:
    """Return the retrain that an earlier call left unfinished, with what it has finished."""
    records = read_lines(path)
    if not records or records[-1]["event"] == "end":
        return None
    run = Run(path, records[0]["run"])
    for record in records:
        run._take(record)  # noqa: SLF001  # the module's own class
    return run

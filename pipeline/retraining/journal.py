"""What a retrain has finished, on the disk before the next step begins, so that a crash is only a pause."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.reports.html import Fact, render
from pipeline.runtime import processes
from pipeline.runtime.files import append_line, read_lines, write_text
from pipeline.runtime.paths import HISTORY, HISTORY_HTML

if TYPE_CHECKING:
    from rich.console import Console


# --- The history of retrains: one line each, never changed, shown as a table, as JSON, and as a page.

Entry = Mapping[str, Any]
OUTCOMES = {
    "promoted": "became champion",
    "refused": "refused by the gate",
    "unchanged": "still champion",
    "held": "held back",
    "nothing_to_do": "nothing to do",
    "source_down": "source or remote down",
    "data_refused": "data refused",
    "paused": "paused, goes on next time",
    "failed": "failed",
}
GOOD, BAD = ("promoted", "unchanged", "nothing_to_do"), ("data_refused", "failed", "source_down")


def add(entry: Entry, history_path: Path = HISTORY, page_path: Path = HISTORY_HTML) -> None:
    """Add an entry unless a crash came right after it was added, and draw the page anew."""
    entries = read_lines(history_path)
    if not any(is_same(entry, other) for other in entries[-3:]):
        append_line(history_path, entry)
        entries.append(dict(entry))
    write_text(page_path, history_page(entries))


def is_same(one: Entry, other: Entry) -> bool:
    """Return whether two entries tell of the same end of the same retrain."""
    return all(one[key] == other[key] for key in ("run", "outcome", "stops"))


def last(outcomes: Sequence[str], history_path: Path = HISTORY) -> Entry | None:
    """Return the newest entry with one of these outcomes, or None."""
    found = [entry for entry in read_lines(history_path) if entry["outcome"] in outcomes]
    return found[-1] if found else None


def print_table(entries: Sequence[Entry], console: "Console") -> None:
    """Print entries, the newest last."""
    from rich.markup import escape
    from rich.table import Table

    if not entries:
        console.print(
            "No retrain yet. `millrace retrain` runs one; `millrace schedule install` runs one every night."
        )
        return
    table = Table("when", "why", "rows", "new", "outcome", "because", "version", "minutes")
    for entry in entries:
        row = entry_texts(entry)
        colour = "green" if entry["outcome"] in GOOD else "red" if entry["outcome"] in BAD else "yellow"
        table.add_row(
            row["when"],
            escape(row["why"]),
            row["rows"],
            row["new"],
            f"[{colour}]{row['outcome']}[/{colour}]",
            escape(row["because"]),
            escape(row["version"]),
            row["minutes"],
        )
    console.print(table)


def history_page(entries: Sequence[Entry]) -> str:
    """Return the history as one HTML file that opens offline, the newest on top."""
    rows = [entry_texts(entry) | {"entry": entry, "mood": _mood(entry)} for entry in reversed(entries)]
    promoted = sum(entry["outcome"] == "promoted" for entry in entries)
    tiles = [(f"{len(entries):,}", "retrains"), (f"{promoted:,}", "became champion")]
    models = dict.fromkeys(entry["model"] for entry in entries if entry.get("model"))
    facts = [Fact("model", ", ".join(models)), Fact("nights", _span(entries))] if models else []
    return render("history.html.j2", rows=rows, tiles=tiles, facts=facts)


def _span(entries: Sequence[Entry]) -> str:
    first, newest = (entries[place]["ended"][:10] for place in (0, -1))
    return f"{first} to {newest}"


def entry_texts(entry: Entry) -> dict[str, str]:
    """Return an entry as short texts."""
    before, after = entry.get("rows_before"), entry.get("rows_after")
    rows = "" if after is None else f"{after:,}" if before in (None, after) else f"{before:,} to {after:,}"
    new = entry.get("new_rows")
    return {
        "when": entry["ended"][:16].replace("T", " "),
        "why": ", ".join(
            item["name"].replace("_", " ") for item in entry.get("triggers", []) if item["fired"]
        ),
        "rows": rows,
        "new": "" if new is None else f"{new:,}",
        "outcome": OUTCOMES[entry["outcome"]],
        "because": " ".join(entry.get("reasons", [])),
        "version": f"{entry['model']} {entry['version']}" if entry.get("version") else "",
        "minutes": f"{sum(entry.get('seconds', {}).values()) / 60:.1f}",
    }


def _mood(entry: Entry) -> str:
    return "good" if entry["outcome"] in GOOD else "bad" if entry["outcome"] in BAD else "neutral"


# --- What a retrain has finished, on the disk before the next step begins, so that a crash is only a pause.

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


def begin_run(path: Path) -> Run:
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

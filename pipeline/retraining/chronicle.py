"""The history of retrains: one line each, never changed, shown as a table, as JSON, and as a page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.reports.html import render
from pipeline.runtime.files import write_text
from pipeline.runtime.json_lines import append_line, read_lines
from pipeline.runtime.places import HISTORY, HISTORY_HTML

if TYPE_CHECKING:
    from rich.console import Console

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
    write_text(page_path, page(entries))


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
        row = described(entry)
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


def page(entries: Sequence[Entry]) -> str:
    """Return the history as one HTML file that opens offline, the newest on top."""
    rows = [described(entry) | {"entry": entry, "mood": _mood(entry)} for entry in reversed(entries)]
    promoted = sum(entry["outcome"] == "promoted" for entry in entries)
    tiles = [(f"{len(entries):,}", "retrains"), (f"{promoted:,}", "became champion")]
    return render("history.html.j2", rows=rows, tiles=tiles)


def described(entry: Entry) -> dict[str, str]:
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

"""What a run came to, on the terminal: candidates, choice, test scores, what was registered, what to open."""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.markup import escape
from rich.table import Table

from pipeline.metrics.names import format_value, metric_words
from pipeline.reports.dashboard import CANDIDATES
from pipeline.reports.run import (
    VERDICTS,
    before_tuning,
    best_first,
    chosen_as,
    score_that_chose,
    scores_before_tuning,
    temperatures_sentence,
    threshold_cell,
    thresholds_heading,
)
from pipeline.runtime import paths
from pipeline.runtime.files import read_json
from pipeline.runtime.processes import terminal

LAST_RUN = paths.STATE_DIR / "last_run.json"
"""Written by the register stage: decision, reasons, model, links. Belongs to this machine."""
ENDING = "MILLRACE_ENDING"
"""Set by `make run`, whose shell does not find `millrace` by its name, and which prints the last lines itself."""
DIGITS = Path("examples/digits")
"""Three photographs of digits, for a first answer."""
COLOURS = {"promoted": "green", "refused": "red", "unchanged": "default", "held": "yellow"}
Row = Mapping[str, Any]


def report_content() -> dict[str, Any]:
    """Return what `print_report` tells, as JSON content.

    Returns:
        `candidates` and `selection` as the evaluation wrote them; `last_run` as `register` did, None before it ran.

    Raises:
        FileNotFoundError: There is no evaluation yet; says which stage makes it.
    """
    tables = {
        name: read_json(paths.EVALUATE_TABLES_DIR / f"{name}.json", "evaluate")
        for name in ("candidates", "selection")
    }
    return {**tables, "last_run": read_json(LAST_RUN) if LAST_RUN.is_file() else None}


def print_report(console: Console | None = None, *, links: bool = True, ending: bool = True) -> None:
    """Print the tables at the end of a pipeline, and as last lines the verdict, what to open and the next command.

    Args:
        console: Where; standard output if None.
        links: Whether every address in the dashboard is printed, not only that of the run.
        ending: Whether the last lines are printed; `make run` prints them after dvc's own last words.

    Raises:
        FileNotFoundError: There is no evaluation yet; says which stage makes it.
    """
    console = console or terminal()
    rows = read_json(paths.EVALUATE_TABLES_DIR / "candidates.json", "evaluate")
    selection = read_json(paths.EVALUATE_TABLES_DIR / "selection.json", "evaluate")
    primary = selection["primary"]
    console.print(_candidates_table(rows, selection, console.width))
    console.print(f"[bold]Choice[/bold]: {escape(selection['reason'])}", highlight=False)
    for line in (selection.get("sentence"), temperatures_sentence(selection), *selection.get("warnings", ())):
        if line:
            console.print(f"  {escape(line)}", highlight=False)
    console.print(_test_table(rows, primary["name"], console.width))
    console.print(escape(_test_sentence(rows)), highlight=False)
    if LAST_RUN.is_file():
        _print_record(console, read_json(LAST_RUN), links=links)
        if ending:
            print_ending(console)


def print_ending(console: Console | None = None) -> None:
    """Print the last four lines: verdict, page, dashboard and the next command; nothing before `register` ever ran."""
    if not LAST_RUN.is_file():
        return
    console, last_run = console or terminal(), read_json(LAST_RUN)
    model = last_run["model"]
    decision, links = _decision(last_run), last_run["links"]
    colour, verdict = COLOURS[decision], VERDICTS[decision]
    label = escape(f"{model['name']} version {model['version']}")
    console.print(f"\n[bold]Verdict[/bold]: {label} [{colour}]{verdict}[/{colour}]", highlight=False)
    ends = {
        "Page": paths.RUN_REPORT.as_posix(),
        "Dashboard": f"`make ui`, then {links.get(CANDIDATES, links['this run'])}",
        "Next": _next(decision),
    }
    for name, text in ends.items():
        console.print(f"[bold]{name}[/bold]: {escape(text)}", soft_wrap=True, highlight=False)


def _decision(last_run: Row) -> str:
    # One that reigned before has the decision by which it once became champion.
    return "unchanged" if last_run.get("reigned") else str(last_run["decision"])


class _Column(NamedTuple):
    heading: str
    cells: list[str]
    number: bool = True

    @property
    def folded(self) -> str:
        """Return the heading, in two lines where it is wider than what stands below."""
        wide = "\n" not in self.heading and cell_len(self.heading) > max(map(cell_len, self.cells))
        return self.heading.replace(" ", "\n", 1) if wide else self.heading

    @property
    def width(self) -> int:
        """Return how many characters it takes, with its margin and one border."""
        return max(map(cell_len, [*self.folded.splitlines(), *self.cells])) + 3


def _fitting(
    title: str, needed: list[_Column], more: list[_Column], rows: Sequence[Row], width: int
) -> Table:
    """Return a table with a line per candidate: the columns that are needed, and of the others as many as fit."""
    table = Table(title=title, title_justify="left")
    left = width - 1
    for place, column in enumerate([*needed, *more]):
        left -= column.width
        if left < 0 and place >= len(needed):
            break
        justify: JustifyMethod = "right" if column.number else "left"
        table.add_column(escape(column.folded), justify=justify, no_wrap=column.number or not place)
    for place, row in enumerate(rows):
        shown = [*needed, *more][: len(table.columns)]
        table.add_row(*(escape(column.cells[place]) for column in shown), style=_style(row))
    return table


def _candidates_table(rows: Sequence[Row], selection: Mapping[str, Any], width: int) -> Table:
    """Return what the rows that chose say of every candidate, best first, beside validation before tuning.

    The score that chose is that of the answers at a candidate's temperature; a sentence below the table names them.
    """
    select_by, chosen_by = selection["select_by"], selection.get("chosen_by", "validation")
    words, before = metric_words(select_by), before_tuning(rows, select_by)
    heading = thresholds_heading(rows)
    where = "validation" if chosen_by == "validation" else f"{chosen_by} rows; untuned on validation"
    shown = best_first(rows, select_by)
    chosen_at = [score_that_chose(selection, row) for row in shown]
    needed = [_Column("candidate", [_name(row) for row in shown], number=False)]
    if any(row["family"] != row["candidate"] for row in shown):
        needed.append(_Column("family", [row["family"] for row in shown], number=False))
    if heading:
        cells = [_number(at) or threshold_cell(row) for row, (_, at) in zip(shown, chosen_at, strict=True)]
        needed.append(_Column(heading, cells))
    first = scores_before_tuning(shown, select_by)
    if any(score is not None for score in first):
        needed.append(_Column(f"untuned\n{metric_words(before)}", [_number(value) for value in first]))
    needed += [
        _Column("trials", [str(row["trials"]) for row in shown]),
        _Column(f"{chosen_as(selection)}\n{words}", [_number(score) for score, _ in chosen_at]),
    ]
    more = [_Column("parameters", [f"{row['parameters']:,}" for row in shown])]
    if select_by != "log_loss" and all("log_loss" in row["val"] for row in rows):
        more.append(
            _Column(f"{chosen_as(selection)} loss", [_number(row["val"]["log_loss"]) for row in shown])
        )
    return _fitting(f"Candidates on {where}", needed, more, shown, width)


def _test_table(rows: Sequence[Row], primary: str, width: int) -> Table:
    """Return the test scores of all candidates, the chosen one first, baselines last; the primary with its interval."""
    shown = sorted(best_first(rows, primary, "test"), key=lambda row: (not row["chosen"], row["baseline"]))
    needed = [_Column("candidate", [_name(row) for row in shown], number=False)]
    if heading := thresholds_heading(rows):
        needed.append(_Column(heading, [threshold_cell(row) for row in shown]))
    scores = [_interval(row["test"][primary]) if primary in row["test"] else "" for row in shown]
    needed.append(_Column(_words(primary), scores))
    more = [
        _Column(_words(metric), [_number(_value(row["test"], metric)) for row in shown])
        for metric in shown[0]["test"]
        if metric != primary
    ]
    return _fitting("Test set, opened once", needed, more, shown, width)


def _test_sentence(rows: Sequence[Row]) -> str:
    """Return every test score of the chosen candidate with its interval."""
    (chosen,) = [row for row in rows if row["chosen"]]
    told = ", ".join(f"{_words(metric)} {_interval(found)}" for metric, found in chosen["test"].items())
    return f"{chosen['candidate']} on test: {told}."


def _words(metric: str) -> str:
    return metric_words(metric.removeprefix("expected_"))


def _print_record(console: Console, last_run: Row, *, links: bool) -> None:
    if last_run.get("looks"):
        console.print(f"[bold]Test set[/bold]: {escape(last_run['looks'])}", highlight=False)
    if links:
        console.print("[bold]Open[/bold] (`make ui` first):", highlight=False)
        for name, link in last_run["links"].items():
            # Not wrapped, so that a terminal recognises the address.
            console.print(f"  {escape(name)}: {escape(link)}", soft_wrap=True, highlight=False)
    console.print("[bold]Why[/bold]:", highlight=False)
    for reason in last_run["reasons"]:
        console.print(f"  {escape(reason)}", highlight=False)


def _next(decision: str) -> str:
    """Return the one command that most people want now."""
    if decision == "held":
        return f"git add -A && git commit -m 'a model', then {'make run' if os.environ.get(ENDING) else 'dvc repro'}"
    if decision == "refused":
        return f"open {paths.DECISION_PAGE.as_posix()}: every check, what was expected, what was received"
    millrace = "millrace" if shutil.which("millrace") and not os.environ.get(ENDING) else ".venv/bin/millrace"
    return f"{millrace} predict {_input()}   (or {millrace} serve)"


def _input() -> str:
    """Return an example of what `predict` reads, for the kind of data."""
    state = paths.BEST_DIR / "state.json"
    kind = read_json(state).get("payload", "") if state.is_file() else ""
    own = {"image": "photos/", "text": "texts.csv", "series": "series.csv"}.get(kind, "INPUT")
    source = read_json(paths.SOURCE_JSON) if paths.SOURCE_JSON.is_file() else {}
    if source.get("kind") == "digits" and DIGITS.is_dir():
        return DIGITS.as_posix()
    return f"{own} --out answers.csv"


def _name(row: Row) -> str:
    note = " (chosen)" if row["chosen"] else " (baseline)" if row["baseline"] else ""
    return f"{row['candidate']}{note}"


def _style(row: Row) -> str:
    return "bold" if row["chosen"] else "dim" if row["baseline"] else ""


def _interval(interval: Mapping[str, float]) -> str:
    low, high = format_value(interval["low"], 3), format_value(interval["high"], 3)
    return f"{format_value(interval['value'])} ({low} to {high})"


def _value(metrics: Row, name: str) -> float | None:
    return metrics[name]["value"] if name in metrics else None


def _number(value: float | None) -> str:
    return "" if value is None else format_value(value)

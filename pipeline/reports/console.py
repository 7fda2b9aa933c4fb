"""What a run came to, on the terminal: candidates, choice, test scores, what was registered, what to open."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.metrics.names import format_value, metric_words
from pipeline.reports.run import (
    VERDICTS,
    before_tuning,
    best_first,
    score_that_chose,
    threshold_cell,
    thresholds_heading,
)
from pipeline.runtime import paths
from pipeline.runtime.files import read_json
from pipeline.runtime.processes import terminal

LAST_RUN = paths.STATE_DIR / "last_run.json"
"""Written by the register stage: decision, reasons, model, links. Belongs to this machine."""
COLOURS = {"promoted": "green", "refused": "red", "unchanged": "default", "held": "yellow"}
Row = Mapping[str, Any]


def print_report(console: Console | None = None, *, links: bool = True) -> None:
    """Print the tables at the end of a pipeline, and as last lines the verdict, what to open and the next command.

    Args:
        console: Where; standard output if None.
        links: Whether every address in the dashboard is printed, not only that of the run.

    Raises:
        FileNotFoundError: There is no evaluation yet; says which stage makes it.
    """
    console = console or terminal()
    rows = read_json(paths.EVALUATE_TABLES_DIR / "candidates.json", "evaluate")
    selection = read_json(paths.EVALUATE_TABLES_DIR / "selection.json", "evaluate")
    primary = selection["primary"]
    console.print(_candidates_table(rows, selection))
    console.print(f"[bold]Choice[/bold]: {escape(selection['reason'])}", highlight=False)
    for line in (selection.get("sentence"), *selection.get("warnings", ())):
        if line:
            console.print(f"  {escape(line)}", highlight=False)
    console.print(_test_table(rows, primary["name"]))
    if LAST_RUN.is_file():
        _print_record(console, read_json(LAST_RUN), links=links)


def _candidates_table(rows: Sequence[Row], selection: Mapping[str, Any]) -> Table:
    """Return what the rows that chose say of every candidate, best first, beside validation before tuning.

    The score that chose is the one from before a temperature was set, as the sentence below the table has it.
    """
    select_by, chosen_by = selection["select_by"], selection.get("chosen_by", "validation")
    words, before = metric_words(select_by), before_tuning(rows, select_by)
    heading = thresholds_heading(rows)
    losses = [name for name in ("log_loss",) if all(name in row["val"] for row in rows) and name != select_by]
    where = "validation" if chosen_by == "validation" else f"{chosen_by} rows; baselines on validation"
    table = Table(title=f"Candidates on {where}", title_justify="left")
    for column in ("candidate", "family"):
        table.add_column(column)
    tuned = [f"tuned {metric_words(name).removeprefix('log ')}" for name in losses]
    first = ["parameters", *([heading] if heading else [])]
    for column in (*first, f"baseline {metric_words(before)}", "trials", f"tuned {words}", *tuned):
        table.add_column(column, justify="right")
    for row in best_first(rows, select_by):
        score, threshold = score_that_chose(selection, row)
        table.add_row(
            _name(row),
            row["family"],
            f"{row['parameters']:,}",
            *([_number(threshold) or threshold_cell(row)] if heading else []),
            _number(row["baseline_val"].get("loss" if select_by == "log_loss" else before)),
            str(row["trials"]),
            _number(score),
            *(_number(row["val"][name]) for name in losses),
            style=_style(row),
        )
    return table


def _test_table(rows: Sequence[Row], primary: str) -> Table:
    """Return the test metrics of the chosen candidate, with intervals, beside the others without."""
    shown = sorted(best_first(rows, primary, "test"), key=lambda row: (not row["chosen"], row["baseline"]))
    table = Table(title="Test set, opened once", title_justify="left")
    table.add_column("metric", no_wrap=True)
    for row in shown:
        table.add_column(_name(row), justify="right", style=_style(row), no_wrap=bool(row["chosen"]))
    if heading := thresholds_heading(rows):
        table.add_row(escape(heading), *(threshold_cell(row) for row in shown))
    for metric in shown[0]["test"]:
        cells = [
            _interval(row["test"][metric]) if row["chosen"] else _number(_value(row["test"], metric))
            for row in shown
        ]
        table.add_row(metric_words(metric.removeprefix("expected_")), *cells)
    return table


def _print_record(console: Console, last_run: Row, *, links: bool) -> None:
    model = last_run["model"]
    # One that reigned before has the decision by which it once became champion.
    decision = "unchanged" if last_run.get("reigned") else last_run["decision"]
    colour, verdict = COLOURS[decision], VERDICTS[decision]
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
    label = escape(f"{model['name']} version {model['version']}")
    console.print(f"\n[bold]Verdict[/bold]: {label} [{colour}]{verdict}[/{colour}]", highlight=False)
    ends = {
        "Page": paths.RUN_REPORT.as_posix(),
        "Dashboard": f"`make ui`, then {last_run['links']['this run']}",
        "Next": _next(decision),
    }
    for name, text in ends.items():
        console.print(f"[bold]{name}[/bold]: {escape(text)}", soft_wrap=True, highlight=False)


def _next(decision: str) -> str:
    """Return the one command that most people want now."""
    if decision == "held":
        return "git add -A && git commit -m 'a model', then dvc repro"
    if decision == "refused":
        return f"open {paths.DECISION_PAGE.as_posix()}: every check, what was expected, what was received"
    return f"millrace predict {_input()} --out answers.csv   (or millrace serve)"


def _input() -> str:
    """Return an example of what `predict` reads, for the kind of data."""
    state = paths.BEST_DIR / "state.json"
    kind = read_json(state).get("payload", "") if state.is_file() else ""
    return {"image": "photos/", "text": "texts.csv", "series": "series.csv"}.get(kind, "INPUT")


def _name(row: Row) -> str:
    note = " (chosen)" if row["chosen"] else " (baseline)" if row["baseline"] else ""
    return escape(str(row["candidate"])) + note


def _style(row: Row) -> str:
    return "bold" if row["chosen"] else "dim" if row["baseline"] else ""


def _interval(interval: Mapping[str, float]) -> str:
    low, high = format_value(interval["low"], 3), format_value(interval["high"], 3)
    return f"{format_value(interval['value'])} ({low} to {high})"


def _value(metrics: Row, name: str) -> float | None:
    return metrics[name]["value"] if name in metrics else None


def _number(value: float | None) -> str:
    return "" if value is None else format_value(value)

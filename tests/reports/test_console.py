"""The report on the terminal says what was chosen, how it scored, what was registered and what to open."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from pipeline import cli
from pipeline.reports import console
from pipeline.runtime import paths
from pipeline.runtime.files import read_json, write_json


def row(name: str, accuracy: float, *, chosen: bool = False, baseline: bool = False) -> dict:
    """Return a row of candidates.json."""
    interval = {"value": accuracy, "low": accuracy - 0.01, "high": accuracy + 0.01}
    return {
        "candidate": name, "family": name, "chosen": chosen, "baseline": baseline, "parameters": 12345, "trials": 3,
        "baseline_val": {"accuracy": accuracy - 0.05, "loss": 0.3}, "val": {"accuracy": accuracy + 0.02, "log_loss": 0.25},
        "test": {"accuracy": interval, "log_loss": {"value": 0.2, "low": 0.1, "high": 0.3}},
    }  # fmt: skip


@pytest.fixture
def evaluated(tmp_path, monkeypatch):
    """A project whose evaluation has been written."""
    monkeypatch.chdir(tmp_path)
    rows = [row("cnn", 0.91, chosen=True), row("rnn", 0.85), row("linear", 0.8, baseline=True)]
    write_json(paths.EVALUATE_TABLES_DIR / "candidates.json", rows)
    reason = "cnn has the best validation accuracy: 0.9300 (next: rnn, 0.8700)."
    primary = {"name": "accuracy", "higher_is_better": True}
    write_json(
        paths.EVALUATE_TABLES_DIR / "selection.json",
        {"chosen": "cnn", "primary": primary, "reason": reason, "select_by": "accuracy"},
    )
    return tmp_path


def printed() -> str:
    """Return the report as plain text, 160 columns wide."""
    text = io.StringIO()
    console.print_report(Console(file=text, width=160))
    return text.getvalue()


def test_report_shows_baseline_and_tuned_scores(evaluated) -> None:
    """Every candidate has a line with its parameters, its baseline score, its trials and its tuned score."""
    lines = [line for line in printed().splitlines() if "cnn" in line]
    assert all(part in lines[0] for part in ("cnn (chosen)", "12,345", "0.8600", "3", "0.9300", "0.2500"))


def test_report_shows_the_scores_that_chose(evaluated) -> None:
    """By log loss too: that of the baseline's trial is its loss, and the one that chose knew no temperature yet."""
    path = paths.EVALUATE_TABLES_DIR / "selection.json"
    ranking = [{"candidate": "cnn", "parameters": 12345, "score": 0.1234}]
    write_json(path, read_json(path) | {"select_by": "log_loss", "ranking": ranking})
    cnn, rnn = (next(line for line in printed().splitlines() if name in line) for name in ("cnn", "rnn"))
    assert all(part in cnn for part in ("0.3000", "0.1234"))
    assert all(part in rnn for part in ("0.3000", "0.2500"))


def test_report_shows_test_scores_beside_the_baselines(evaluated) -> None:
    """A line each, the chosen one first; the primary metric with its interval, and all of the chosen one below."""
    _, second = printed().split("Test set, opened once")
    cnn, rnn, linear = [line for line in second.splitlines() if line.startswith("│")]
    for line, name, score in (
        (cnn, "cnn (chosen)", "0.9100 (0.900 to 0.920)"),
        (rnn, "rnn", "0.8500 (0.840 to 0.860)"),
        (linear, "linear (baseline)", "0.8000 (0.790 to 0.810)"),
    ):
        assert all(part in line for part in (name, score, "0.2000"))
    assert "cnn on test: accuracy 0.9100 (0.900 to 0.920), log loss 0.2000 (0.100 to 0.300)." in second


@pytest.mark.parametrize("width", [60, 80, 120])
def test_report_fits_the_terminal(evaluated, width):
    """Every candidate on one line, no number cut; what does not fit is left out, the scores that count never."""
    path = paths.EVALUATE_TABLES_DIR / "candidates.json"
    rows = [*read_json(path), row("a-candidate-of-long-name", 0.7)]
    for one in rows:
        one["test"] |= {f"metric_number_{place}": {"value": 0.5, "low": 0, "high": 1} for place in range(9)}
    write_json(path, rows)
    text = io.StringIO()
    console.print_report(Console(file=text, width=width))
    lines = text.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert "…" not in text.getvalue()
    assert 8 == sum(line.startswith("│") for line in lines)
    assert 1 == sum(
        "a-candidate-of-long-name" in line and "0.7000 (0.690 to 0.710)" in line for line in lines
    )
    assert (width == 120) == (
        "metric\n" in text.getvalue() or "number 3" in text.getvalue().split("on test")[0]
    )


def test_report_shows_the_threshold_beside_the_scores(evaluated) -> None:
    """Where the rows that chose set it, above the test scores where test has it, and argmax by its name."""
    assert "spam from" not in printed()
    rows_path, path = (paths.EVALUATE_TABLES_DIR / f"{name}.json" for name in ("candidates", "selection"))
    rows = read_json(rows_path)
    for row, threshold in zip(rows, (0.4851, 0.3, 0.1234), strict=True):
        row["operating_point"] = {"positive_class": "spam", "threshold": threshold}
        row["baseline_val"] = {"argmax_accuracy": 0.7777}
    write_json(rows_path, rows)
    ranking = [{"candidate": "cnn", "parameters": 12345, "score": 0.93, "threshold": 0.4321}]
    write_json(path, read_json(path) | {"ranking": ranking})
    first, second = printed().split("Test set, opened once")
    (cnn,) = [line for line in first.splitlines() if "cnn (chosen)" in line]
    assert all(part in cnn for part in ("0.4321", "0.7777", "0.9300"))
    assert "argmax" in first
    assert "spam" in second
    lines = [line for line in second.splitlines() if line.startswith("│")]
    for line, threshold in zip(lines, ("0.4851", "0.3000", "0.1234"), strict=True):
        assert threshold in line


def test_report_says_why(evaluated) -> None:
    """The reason of the choice is printed as it was written down."""
    assert "cnn has the best validation accuracy: 0.9300" in printed()


def test_report_without_a_record_ends_with_the_test_scores(evaluated) -> None:
    """Before the register stage has run there is no word of a registered model."""
    assert "Verdict" not in printed()


def test_report_shows_what_was_registered_and_links_in_one_piece(evaluated) -> None:
    """Decision and reasons are printed, and an address is never broken over two lines."""
    link = "http://127.0.0.1:5000/?workflowType=machine_learning#/experiments/1/runs/" + "f" * 100
    write_json(
        console.LAST_RUN,
        {
            "decision": "promoted", "links": {"this run": link}, "run_id": "f", "reasons": ["cnn beats [linear]."],
            "model": {"name": "digits", "version": 4, "sha256": "0"}, "looks": "The test set had judged 3 models.",
        },
    )  # fmt: skip
    text = printed()
    assert "Test set: The test set had judged 3 models." in text
    assert "digits version 4 became champion" in text
    assert "cnn beats [linear]." in text
    assert link in text
    last_run = read_json(console.LAST_RUN)
    write_json(console.LAST_RUN, {**last_run, "reigned": True})
    assert "digits version 4 is the champion already" in printed()


@pytest.mark.parametrize(
    ("decision", "payload", "verdict", "command"),
    [
        ("promoted", "image", "became champion", "millrace predict photos/ --out answers.csv"),
        ("promoted", "text", "became champion", "millrace predict texts.csv --out answers.csv"),
        ("held", "series", "waits for your commit", "git add -A && git commit"),
        ("refused", "series", "was not promoted", "reports/register/decision.html"),
    ],
)
def test_report_ends_with_the_verdict_what_to_open_and_the_next_command(
    evaluated, decision, payload, verdict, command
):
    """Four lines, whatever was decided, and at the end of the pipeline no other address."""
    links = {"this run": "http://127.0.0.1:5000/#/runs/f", "model": "http://127.0.0.1:5000/#/models/digits"}
    model = {"name": "digits", "version": 4, "sha256": "0"}
    write_json(console.LAST_RUN, {"decision": decision, "links": links, "reasons": ["Why."], "model": model})
    write_json(paths.BEST_DIR / "state.json", {"payload": payload})
    text = io.StringIO()
    console.print_report(Console(file=text, width=160), links=False)
    assert links["model"] not in text.getvalue()
    first, page, dashboard, after = text.getvalue().splitlines()[-4:]
    assert first.startswith("Verdict: digits version 4 ")
    assert verdict in first
    assert page == "Page: reports/register/report.html"
    assert dashboard == f"Dashboard: `make ui`, then {links['this run']}"
    assert after.startswith("Next: ")
    assert command in after
    again = io.StringIO()
    console.print_ending(Console(file=again, width=160))
    assert text.getvalue().endswith(again.getvalue())
    assert 4 == len(again.getvalue().split("\n", 1)[1].splitlines())


def test_the_dashboard_that_is_named_shows_scores_as_columns(evaluated) -> None:
    """The list of candidates, as `millrace ui` opens it; a run of an earlier version has none, and opens its page."""
    links = {"this run": "http://a/run", "candidates, best first": "http://a/list"}
    last = {"decision": "promoted", "reasons": [], "model": {"name": "digits", "version": 4}}
    write_json(console.LAST_RUN, {**last, "links": links})
    assert "then http://a/list\n" in printed()


@pytest.mark.parametrize(
    ("kind", "told"), [("digits", "examples/digits "), ("image_folder", "photos/ --out answers.csv ")]
)
def test_the_next_command_can_be_pasted_after_make_run(evaluated, monkeypatch, kind, told) -> None:
    """`millrace` is not on the PATH of a newcomer's shell, and of the digits there are photographs to ask about."""
    last = {"decision": "promoted", "reasons": [], "model": {"name": "digits", "version": 4}}
    write_json(console.LAST_RUN, {**last, "links": {"this run": "http://a/run"}})
    write_json(paths.BEST_DIR / "state.json", {"payload": "image"})
    write_json(paths.SOURCE_JSON, {"kind": kind})
    console.DIGITS.mkdir(parents=True)
    monkeypatch.setenv(console.ENDING, "later")
    assert f"Next: .venv/bin/millrace predict {told}" in printed()


def test_report_as_json_is_what_the_files_say(evaluated, capsys) -> None:
    """One object, with what the last attempt came to."""
    (evaluated / "dvc.yaml").write_text("")
    write_json(console.LAST_RUN, {"decision": "held"})
    write_json(paths.STATE_DIR / "status.json", {"exit_code": 65, "stage": "split", "message": "Too few."})
    cli.main(["report", "--json"])
    content = json.loads(capsys.readouterr().out)
    assert read_json(paths.EVALUATE_TABLES_DIR / "candidates.json") == content["candidates"]
    assert "cnn" == content["selection"]["chosen"]
    assert ("held", 65) == (content["last_run"]["decision"], content["last_attempt"]["exit_code"])


def test_report_without_an_evaluation_says_what_to_run(tmp_path, monkeypatch) -> None:
    """Where nothing was evaluated the message names the stage that does it."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="dvc repro evaluate"):
        console.print_report()


def test_a_later_failed_attempt_is_told_each_time(tmp_path, monkeypatch, capsys):
    """Showing the older table never erases that the last attempt failed."""
    from pipeline import cli
    from tests.helpers.synthetic_project import make_project

    monkeypatch.chdir(make_project(tmp_path / "project"))
    monkeypatch.setattr("pipeline.reports.console.print_report", lambda: None)
    status = Path(".millrace/status.json")
    status.parent.mkdir()
    status.write_text('{"stage": "validate", "exit_code": 65, "message": "too few samples"}')
    for _ in range(2):
        cli.main(["report"])
        told = capsys.readouterr().out
        assert "stopped at validate with exit code 65" in told
        assert "too few samples" in told

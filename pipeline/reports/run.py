"""One page that tells the whole run: verdict, candidates, data and pictures in a single file that opens offline."""

import csv
import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.metrics.names import argmax_name, format_value, metric_words, primary_called, said_from
from pipeline.reports.html import Fact, Tiles, Told, data_fact, pictures, render
from pipeline.runtime import paths
from pipeline.runtime.files import read_json

VERDICTS = {
    "promoted": "became champion",
    "refused": "was not promoted",
    "unchanged": "is the champion already",
    "held": "would become champion, and waits for your commit",
}
"""Decision to words, which follow the name of a model."""


def test_score(card: Mapping[str, Any]) -> str:
    """Return the primary metric on test of a model's card in words, with the threshold it is used at."""
    name = card["primary"]["name"]
    interval = card["test"][name]
    value, low, high = (format_value(interval[part]) for part in ("value", "low", "high"))
    threshold = said_from(card.get("operating_point", {})) if card.get("task") != "anomaly" else ""
    return f"test {metric_words(name)} {value} ({low} to {high})" + (f", {threshold}" if threshold else "")


def best_first(rows: Sequence[Mapping[str, Any]], metric: str, part: str = "val") -> list[Mapping[str, Any]]:
    """Return rows of candidates.json, the best by a metric first; those without a value last.

    Args:
        rows: The candidates.
        metric: Its name, which tells its direction.
        part: `val` or `test`.
    """
    sign = primary_called(metric).sign

    def key(row: Mapping[str, Any]) -> tuple[bool, float]:
        found = row[part].get(metric)
        value = found["value"] if isinstance(found, Mapping) else found
        return (value is None, 0.0 if value is None else -sign * float(value))

    return sorted(rows, key=key)


def score_that_chose(
    selection: Mapping[str, Any], row: Mapping[str, Any]
) -> tuple[float | None, float | None]:
    """Return the score by which a candidate was chosen or not, and the threshold it was measured at; None for none.

    Of a candidate that could be chosen it is that of its answers at its temperature, as the sentence of the choice has
    it; of others that on validation.

    Args:
        selection: Content of selection.json.
        row: Of candidates.json.
    """
    for entry in selection.get("ranking", ()):
        if entry["candidate"] == row["candidate"]:
            return entry["score"], entry.get("threshold")
    return row["val"].get(selection["select_by"]), row.get("operating_point", {}).get("threshold")


def chosen_as(selection: Mapping[str, Any]) -> str:
    """Return what a candidate's answers were when they were compared: `tuned`, or `as served` at its temperature.

    Args:
        selection: Of selection.json.
    """
    return "as served" if temperatures_sentence(selection) else "tuned"


def temperatures_sentence(selection: Mapping[str, Any]) -> str:
    """Return by what the logits of each candidate were divided; "" where none has a temperature.

    Without it the score before tuning and the one that chose look like a search that made things worse.

    Args:
        selection: Of selection.json.
    """
    told = [
        f"{entry['candidate']} {entry['temperature']:.3g}"
        for entry in selection.get("ranking", ())
        if "temperature" in entry
    ]
    if not told:
        return ""
    return (
        f"As served: logits divided by a temperature ({', '.join(told)}), which takes out overconfidence and may cost "
        "a little on these rows; before tuning: without."
    )


def before_tuning(rows: Sequence[Mapping[str, Any]], metric: str) -> str:
    """Return under which name `baseline_val` of candidates.json has a metric.

    Where other scores are taken at a threshold, what counts answers of a trial is called `argmax_...`.
    """
    name = argmax_name(metric)
    return name if any(name in row["baseline_val"] for row in rows) else metric


def scores_before_tuning(rows: Sequence[Mapping[str, Any]], metric: str) -> list[float | None]:
    """Return the validation score of each row before tuning, None where nobody took it.

    Args:
        rows: Of candidates.json.
        metric: What candidates are chosen by; log loss is what training calls `loss`.
    """
    name = "loss" if metric == "log_loss" else before_tuning(rows, metric)
    return [row["baseline_val"].get(name) for row in rows]


def thresholds_heading(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return what heads the column of thresholds in a table of candidates; "" where they have none."""
    points = [row["operating_point"] for row in rows if "operating_point" in row]
    if not points:
        return ""
    return f"{points[0]['positive_class']} from" if "threshold" in points[0] else "labels from"


def threshold_cell(row: Mapping[str, Any]) -> str:
    """Return the threshold of a row of candidates.json, of labels the lowest and the highest; "" without one."""
    point = row.get("operating_point", {})
    values = [point["threshold"]] if "threshold" in point else list(point.get("thresholds", {}).values())
    return " to ".join(dict.fromkeys(format_value(end(values)) for end in (min, max))) if values else ""


def facts(
    model: str, source: Mapping[str, Any], commit: str, registered: dt.datetime, links: Mapping[str, str]
) -> list[Fact]:
    """Return what stands at the foot of a page of a run: which model, of which data and commit, and since when.

    Args:
        model: Name, version and digest in words.
        source: Content of data/source.json.
        commit: Of git, in words.
        registered: When the version was made.
        links: See `links`.
    """
    return [
        Fact("model", model, links["model version"]),
        data_fact(source),
        Fact("commit", commit),
        Fact("registered", f"{registered:%Y-%m-%d %H:%M} UTC"),
        Fact("dashboard", "this run (while make ui runs)", links["this run"]),
    ]


PAGES = (
    Fact("page", "the whole run", paths.RUN_REPORT.name),
    Fact("page", "the decision, check by check", paths.DECISION_PAGE.name),
    Fact("page", "the data, before anything was trained", f"../validate/{paths.VALIDATE_HTML.name}"),
)
"""Where the pages of a run lie, seen from reports/register."""


def pages_beside(page: Path) -> list[Fact]:
    """Return the links to the other pages of a run; one that leads to itself is a puzzle."""
    return [fact for fact in PAGES if fact.link != page.name]


# --- One page that tells the whole run.

PICTURES: Told = {
    "candidates": (
        "Candidates on test",
        "Dots with their intervals: what overlaps, these rows hardly tell apart. Diamonds are the scores that chose.",
    ),
    "confusion": (
        "What was taken for what",
        "Rows are what samples are, columns what the model said. The diagonal is right, darker is more of a row.",
    ),
    "per_class": (
        "Class by class",
        "F1 weighs false alarms against misses. A long interval means few test samples, not a bad class.",
    ),
    "per_label": (
        "Label by label",
        "F1 weighs false alarms against misses. A long interval means few test samples, not a bad label.",
    ),
    "timelines": (
        "Scores and alarms over time",
        "Where the score passes the threshold, an alarm is raised; labelled anomalies are shaded.",
    ),
    "predicted": ("Predicted beside true", "Right answers lie on the line; what bends away from it is a bias."),
    "stretch": (
        "A stretch in the middle of test",
        "What was measured, what the chosen model said, and the baselines beside it.",
    ),
    "error_by_step": ("Error by step ahead", "Further ahead is harder; where a baseline lies below, it is better."),
    "residuals": ("What is left of the error", "True minus predicted: good is around 0, without a slope."),
    "mistakes": (
        "Most confident mistakes",
        "Test samples that the model got wrong while it was surest: mislabelled ones show up here first.",
    ),
    "reliability": (
        "Does it know how sure it is",
        "Of answers given with 80 % confidence 80 % should be right: bars on the line. Below, how many there were.",
    ),
    "learning_curves": (
        "Learning curves",
        "Loss by epoch; where validation rises while training falls, a model learns by heart.",
    ),
    "reconstructions": (
        "What codes bring back",
        "Images, and what the autoencoder and as many principal components make of them again.",
    ),
    "codes": ("Codes in two dimensions", "Samples that the autoencoder finds alike lie together; colours are classes."),
}  # fmt: skip
"""What matters most comes first."""
MOST_ROWS = 20
"""Up to so many classes or labels stand in a table; more are drawn."""
MOST_METRICS = 3
"""Columns of the table of candidates; the rest stands on the terminal and in MLflow."""


def run_report(decision: Mapping[str, Any], looks: str = "", facts: Sequence[Fact] = ()) -> str:
    """Return the page of the run whose reports lie in the project.

    Args:
        decision: The content of reports/register/decision.json.
        looks: How often the test set was used, see `pipeline.evaluation.ledger.sentence`.
        facts: What stands at the foot of the page.

    Raises:
        FileNotFoundError: A report is missing; says which stage makes it.
    """
    rows = read_json(paths.EVALUATE_TABLES_DIR / "candidates.json", "evaluate")
    selection = read_json(paths.EVALUATE_TABLES_DIR / "selection.json", "evaluate")
    split = read_json(paths.SPLIT_SUMMARY, "split")
    before, first = (found(rows, selection["select_by"]) for found in (before_tuning, scores_before_tuning))
    return render(
        "run_report.html.j2",
        facts=facts,
        title=f"{decision['candidate']} {VERDICTS[decision['decision']]}",
        decision=decision,
        looks=looks,
        selection=selection,
        tiles=_tiles(rows, split, selection["primary"]),
        select_by=selection["select_by"],
        before_tuning=before,
        chosen_as=chosen_as(selection),
        temperatures=temperatures_sentence(selection),
        has_families=any(row["family"] != row["candidate"] for row in rows),
        before=dict(zip([row["candidate"] for row in rows], first, strict=True)),
        has_baselines=any(score is not None for score in first),
        most_rows=MOST_ROWS,
        score_that_chose=score_that_chose,
        thresholds=thresholds_heading(rows),
        threshold_of=threshold_cell,
        metrics=_metrics(rows, selection["primary"]["name"]),
        words=metric_words,
        shown=format_value,
        rows=best_first(rows, selection["select_by"]),
        data_line=_data_line(read_json(paths.VALIDATE_SUMMARY, "validate"), split),
        classes=sorted(split.get("classes", {}).items()),
        covered=_covered(paths.EVALUATE_TABLES_DIR / "prediction_intervals.json"),
        labels=_labels(paths.EVALUATE_TABLES_DIR / "per_label.csv"),
        pictures=pictures(paths.EVALUATE_PICTURES_DIR, PICTURES),
    )


def _metrics(rows: Sequence[Mapping[str, Any]], primary: str) -> list[str]:
    """Return which test metrics stand in the table: the primary one, and the first others that all have."""
    shared = [name for name in rows[0]["test"] if all(name in row["test"] for row in rows)]
    others = [name for name in shared if name != primary]
    # One number that counts answers and one that weighs them, where there are such.
    preferred = [name for name in ("macro_f1", "log_loss") if name in others]
    return [primary, *dict.fromkeys([*preferred, *others])][:MOST_METRICS]


def _covered(path: Path) -> str:
    """Return in words how many test values lie in their intervals; "" where there are none."""
    if not path.is_file():
        return ""
    content = read_json(path)
    value, low, high = (f"{content['coverage'][part]:.1%}" for part in ("value", "low", "high"))
    return (
        f"Intervals that should hold {content['confidence']:.0%} of new values hold {value} of the test values "
        f"({low} to {high}); {content['rows']:,} rows that the answering model was not trained on set their widths."
    )


PER_LABEL = ("precision", "recall", "f1", "average_precision")


def _labels(path: Path) -> list[dict[str, Any]]:
    """Return what the table of labels shows, the lowest F1 first; [] where samples have one label at most."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows = [
            {
                "label": row["label"],
                "train": int(row["train_samples"]),
                "test": int(row["test_examples"]),
                "threshold": float(row["threshold"]),
                **{name: _read_interval(row, name) for name in PER_LABEL},
            }
            for row in csv.DictReader(file)
        ]
    return sorted(rows, key=lambda row: row["f1"]["value"] if row["f1"] else 2.0)


def _read_interval(row: Mapping[str, str], name: str) -> dict[str, float] | None:
    parts = {"value": row[name], "low": row[f"{name}_low"], "high": row[f"{name}_high"]}
    return {part: float(number) for part, number in parts.items()} if row[name] else None


# --- The gate's decision as one HTML file that opens anywhere, offline; equal decisions give equal bytes.


def _tiles(rows: Sequence[Mapping[str, Any]], split: Mapping[str, Any], primary: Mapping[str, Any]) -> Tiles:
    (chosen,) = (row for row in rows if row["chosen"])
    name, words = primary["name"], metric_words(primary["name"])
    score = chosen["test"][name]
    baselines = best_first([row for row in rows if row["baseline"] and not row["chosen"]], name, "test")
    baseline = [
        (format_value(row["test"][name]["value"]), f"test {words} of the better baseline")
        for row in baselines
    ]
    return [
        (
            format_value(score["value"]),
            f"test {words} ({format_value(score['low'], 3)} to {format_value(score['high'], 3)})",
        ),
        *baseline[:1],
        *_threshold_tile(chosen),
        (f"{chosen['parameters']:,}", "parameters of the chosen model"),
        _trained_on(chosen, split["samples"]),
        (f"{split['samples']['test']:,}", "samples to judge on"),
    ]


def _trained_on(chosen: Mapping[str, Any], samples: Mapping[str, int]) -> tuple[str, str]:
    if chosen.get("refit"):
        return f"{samples['train'] + samples['val']:,}", "samples trained on, validation among them"
    return f"{samples['train']:,}", "samples trained on"


def _threshold_tile(row: Mapping[str, Any]) -> Tiles:
    point = row.get("operating_point", {})
    if "threshold" not in point:
        return []
    return [
        (format_value(point["threshold"]), f"probability from which on it says {point['positive_class']}")
    ]


def _data_line(validation: Mapping[str, Any], split: Mapping[str, Any]) -> str:
    judged = validation["expectations"]
    excluded = split["samples"]["excluded"]
    return (
        f"{validation['samples']:,} samples; {judged['met']} of {judged['judged']} expectations met; split: "
        f"{split['method']}; {excluded} copies of test samples kept out of training and validation."
    )


ORDER = {"failed": 0, "met": 1, "told": 2}


def decision_page(decision: Mapping[str, Any], facts: Sequence[Fact] = ()) -> str:
    """Return the page of a decision.

    Args:
        decision: The content of reports/register/decision.json.
        facts: What stands at the foot of the page.
    """
    checks = sorted(decision["checks"], key=lambda check: ORDER[check["verdict"]])
    return (
        render(
            "decision_page.html.j2",
            facts=facts,
            title=f"{decision['candidate']} {VERDICTS[decision['decision']]}",
            decision=decision,
            tiles=_decision_tiles(decision),
            checks=[{**check, "drawn": _drawn(check["interval"])} for check in checks],
            rules=_rules(decision["rules"]),
            shown=format_value,
        )
        + "\n"
    )


def _decision_tiles(decision: Mapping[str, Any]) -> Tiles:
    verdicts = [check["verdict"] for check in decision["checks"]]
    return [
        (str(verdicts.count("met")), "checks met"),
        (str(verdicts.count("failed")), "checks failed"),
        (f"{decision['test_rows']:,}", "test rows that no model was made with"),
        (f"{decision['test_rows_left_out']:,}", "test rows left out"),
        (f"{decision['rules']['confidence']:.0%}", "confidence of all looks of a reign"),
    ]


def _drawn(interval: Mapping[str, float] | None) -> dict[str, float] | None:
    """Return where an interval, its value and 0 stand on a line of 100 units; None where there is none."""
    if interval is None:
        return None
    left, right = min(interval["low"], 0.0), max(interval["high"], 0.0)
    width = (right - left) or 1.0
    places = {"zero": 0.0, **interval}
    return {name: round(2 + 96 * (number - left) / width, 2) for name, number in places.items()}


MEANINGS = {
    "primary": "the metric that decides",
    "mode": "superiority: better than the champion; non inferiority: not worse by more than a margin",
    "margin": "by how much better: the lower end of the interval must lie above it",
    "non_inferiority_margin": "by how much worse is not worse yet",
    "confidence": "of all looks at the test set together, while one champion reigns",
    "class_tolerance": "how much of a class's recall may be lost to the champion",
    "slices": "columns whose values are judged one by one",
    "slice_tolerance": "how much a slice may lose",
    "min_support": "test rows by which a class or slice is judged; smaller ones are told",
    "calibration_budget": "by how much the calibration error may rise",
    "max_size_mib": "largest model file",
    "max_latency_ms": "longest single answer, median",
    "rows": "fewest test rows that neither model was made with",
    "resamples": "draws of the rows behind every interval",
    "seed": "of these draws",
}
"""Key of the rules to what it is; the order of the page."""


def _rules(rules: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return what was demanded: key, value and what it is, in words."""
    named = {**rules, "primary": rules["primary"]["name"]}
    entries = [(name, named[name], told) for name, told in MEANINGS.items() if name in named]
    for name, bound in sorted((rules["floors"] or {}).items()):
        entries.append(
            (f"floor {name}", bound, "what every champion must hold, by the bound of its interval")
        )
    return [
        (metric_words(name), "not demanded" if value is None else _text(value), told)
        for name, value, told in entries
    ]


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return metric_words(value) if isinstance(value, str) else str(value)

"""Two models side by side: what they were made from, and how they answer for the same rows of today's test set.

Says who is better, and promotes nobody: that is the gate's. Every interval is of one metric alone; of ten metrics one
may well look better by chance.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.evaluation.measures import Yardstick, measures_of
from pipeline.evaluation.scoring import NotComparable, load_test_rows, score, unseen_positions
from pipeline.inputs.specs import output_spec
from pipeline.metrics.intervals import Interval, difference_interval
from pipeline.metrics.names import format_value, metric_words, primary_called
from pipeline.reports.html import render
from pipeline.runtime import paths
from pipeline.runtime.files import read_json, write_text
from pipeline.runtime.repository import without_register
from pipeline.runtime.strict_yaml import yaml_content
from pipeline.versions.whole import Whole

SIDES = ("first", "other")
KINDS = {"data": ("data/",), "code": ("pipeline/",), "models": ("models/", "reports/")}
"""What a file of a dvc.lock is, by how its path begins; anything else is `others`."""
MOST_SHOWN = 12


def side_by_side(
    first: Whole, other: Whole, yardstick: Yardstick, *, resamples: int, confidence: float, seed: int
) -> dict[str, Any]:
    """Return how two models differ, as JSON content. TensorFlow must have been prepared.

    Args:
        first: One of them.
        other: The other.
        yardstick: How answers are measured.
        resamples: For intervals.
        confidence: The same.
        seed: The same.

    Returns:
        `first`, `other`: what each is called and by what it is known; `params`: what differs, by key; `files`: what
        differs in their dvc.lock, by kind; `rows`: on how many each was fitted, and both; `metrics`: of each its own on
        its test set, and where both can be asked today's test rows, `now` of both with the `difference` and its
        interval, and who is `better`; `asked`: how many rows, or why none.
    """
    now, asked = _now(first, other, yardstick, resamples=resamples, confidence=confidence, seed=seed)
    cards = [read_json(model.folder / "card.json") for model in (first, other)]
    names = sorted({*now, *(name for card in cards for name in card.get("test") or {})})
    metrics = {}
    for name in names:
        own = {side: (card.get("test") or {}).get(name) for side, card in zip(SIDES, cards, strict=True)}
        metrics[name] = {"on_its_own_test_set": own, **now.get(name, {})}
    return {
        "first": _described(first, cards[0]),
        "other": _described(other, cards[1]),
        "params": _params(first, other),
        "files": _files(first, other),
        "rows": _fitted_on(first, other),
        "metrics": metrics,
        "asked": asked,
        "confidence": confidence,
    }


def _described(model: Whole, card: Mapping[str, Any]) -> dict[str, Any]:
    commit = model.tags.get("git.commit", "none")
    return {
        "called": f"{model.name} version {model.version}" if model.version else model.name,
        "candidate": card.get("candidate"),
        "family": card.get("family"),
        "parameters": card.get("parameters"),
        "threshold": (card.get("operating_point") or {}).get("threshold"),
        "commit": commit if commit != "none" else None,
        "bytes": model.keras_file.stat().st_size,
    }


# --- What they were made from.


def _params(first: Whole, other: Whole) -> dict[str, dict[str, Any]]:
    flat = [dict(_leaves(_yaml(model, "params.yaml"))) for model in (first, other)]
    keys = sorted(flat[0].keys() | flat[1].keys())
    pairs = {key: [side.get(key) for side in flat] for key in keys}
    return {key: dict(zip(SIDES, pair, strict=True)) for key, pair in pairs.items() if pair[0] != pair[1]}


def _leaves(content: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(content, Mapping) and content:
        for key, value in content.items():
            yield from _leaves(value, f"{above}.{key}" if above else str(key))
    else:
        yield above, content


def _yaml(model: Whole, name: str) -> dict[str, Any]:
    path = model.paper(name)
    return {} if path is None else yaml_content(path.read_text(encoding="utf-8"), name)


def _files(first: Whole, other: Whole) -> dict[str, list[str]]:
    digests = [_digests(_yaml(model, "dvc.lock")) for model in (first, other)]
    if not all(digests):
        return {}
    found: dict[str, list[str]] = {kind: [] for kind in (*KINDS, "others")}
    for path in sorted(digests[0].keys() | digests[1].keys()):
        if digests[0].get(path) != digests[1].get(path):
            kind = next((kind for kind, begins in KINDS.items() if path.startswith(begins)), "others")
            found[kind].append(path)
    return found


def _digests(lock: Mapping[str, Any]) -> dict[str, str]:
    return {
        item["path"]: item.get("md5", "")
        for stage in without_register(lock).values()
        for item in (*stage.get("deps", ()), *stage.get("outs", ()))
    }


def _fitted_on(first: Whole, other: Whole) -> dict[str, int | None]:
    """Return on how many rows each was fitted or chosen by, and on how many both were; None where nobody knows."""
    keys: list[set[str] | None] = []
    for model in (first, other):
        path = model.folder / "trained_on.parquet"
        if not path.is_file():
            keys.append(None)
            continue
        table = pq.read_table(path)
        keys.append(set(pc.unique(table["content_sha256"]).to_pylist()))
    first_keys, other_keys = keys
    both = None if first_keys is None or other_keys is None else len(first_keys & other_keys)
    counts = {side: None if one is None else len(one) for side, one in zip(SIDES, keys, strict=True)}
    return {**counts, "both": both}


# --- How they answer now.


def _now(
    first: Whole, other: Whole, yardstick: Yardstick, *, resamples: int, confidence: float, seed: int
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Return metric to both values, the difference and who is better; and how many rows were asked, or why none."""
    if not paths.FEATURES_STATE.is_file():
        return {}, {"rows": 0, "why": "there are no test rows here: `dvc pull`, or `dvc repro`"}
    try:
        test = load_test_rows()
        rows = test.take(unseen_positions(test, [first.folder, other.folder]))
        if not len(rows):
            return {}, {"rows": 0, "why": "every test row of today was seen by one of them"}
        said = [score(model.name, model.keras_file, model.folder, rows) for model in (first, other)]
    except NotComparable as error:
        return {}, {"rows": 0, "why": str(error)}
    if said[0].classes != said[1].classes:
        return {}, {"rows": 0, "why": "they know different classes"}
    measures = measures_of(rows, output_spec(read_json(paths.FEATURES_STATE)), yardstick)
    points = [read_json(model.folder / "card.json").get("operating_point") or {} for model in (first, other)]
    metrics = [measures.metrics(point) for point in points]
    scored = [measures.scored(one.predictions, point) for one, point in zip(said, points, strict=True)]
    found = {}
    for name in metrics[0].keys() & metrics[1].keys():
        try:
            difference = difference_interval(
                metrics[0][name], measures.y_true, scored[0], scored[1],
                resamples=resamples, confidence=confidence, seed=seed, blocks=measures.blocks,
                metric_other=metrics[1][name],
            )  # fmt: skip
        except ValueError:  # it does not exist for these rows, or not for enough of their resamples
            continue
        values = [
            float(metric[name](measures.y_true, answers, None))
            for metric, answers in zip(metrics, scored, strict=True)
        ]
        now = dict(zip(SIDES, values, strict=True))
        found[name] = {"now": now, "difference": difference.rounded(), "better": _better(name, difference)}
    return found, {"rows": len(rows), "why": ""}


def _better(name: str, difference: Interval) -> str:
    """Return `first`, `other`, or "" where the interval holds 0."""
    if difference.low <= 0 <= difference.high:
        return ""
    return SIDES[(difference.low > 0) != primary_called(name).higher_is_better]


# --- For people.


def lines_of(content: Mapping[str, Any]) -> list[str]:
    """Return the comparison for a terminal."""
    called = {side: content[side]["called"] for side in SIDES}
    lines = []
    for side in SIDES:
        one = content[side]
        told = [
            one["candidate"],
            one["parameters"] and f"{one['parameters']:,} parameters",
            f"{one['bytes']:,} bytes",
        ]
        told.append(one["commit"] and one["commit"][:10])
        lines.append(f"{called[side]}: {', '.join(str(part) for part in told if part)}")
    asked = content["asked"]
    if asked["rows"]:
        lines.append(
            f"On {asked['rows']:,} test rows of today that neither has seen ({content['confidence']:.0%} interval of "
            "each difference alone):"
        )
    else:
        lines.append(f"Not asked the same rows: {asked['why']}. Each on the test set it was judged by:")
    for name, row in content["metrics"].items():
        lines.append(f"  {metric_words(name):<22} {_told(row, called)}")
    lines.append(_changed("params", [f"{key} {_pair(pair)}" for key, pair in content["params"].items()]))
    lines += [_changed(kind, files) for kind, files in content["files"].items() if files]
    rows = content["rows"]
    if rows["both"] is not None:
        lines.append(
            f"fitted on: {rows['first']:,} and {rows['other']:,} different rows, {rows['both']:,} shared"
        )
    return lines


def _told(row: Mapping[str, Any], called: Mapping[str, str]) -> str:
    if "now" not in row:
        own = row["on_its_own_test_set"]
        return " against ".join(
            "-" if own[side] is None else format_value(own[side]["value"]) for side in SIDES
        )
    first, other = (format_value(row["now"][side]) for side in SIDES)
    low, high = (format_value(row["difference"][end], sign="+") for end in ("low", "high"))
    better = f"; {called[row['better']]} is better" if row["better"] else ""
    return f"{first} against {other}, {format_value(row['difference']['value'], sign='+')} ({low} to {high}){better}"


def _pair(pair: Mapping[str, Any]) -> str:
    return " -> ".join(json.dumps(pair[side], ensure_ascii=False) for side in SIDES)


def _changed(what: str, items: list[str]) -> str:
    more = f", and {len(items) - MOST_SHOWN} more" if len(items) > MOST_SHOWN else ""
    return f"{what}: {', '.join(items[:MOST_SHOWN]) or 'the same'}{more}"


def write_page(path: Path, content: Mapping[str, Any]) -> None:
    """Write the comparison as one HTML page that opens offline."""
    called = {side: content[side]["called"] for side in SIDES}
    metrics = [
        {
            "name": metric_words(name),
            "own": {side: _interval(row["on_its_own_test_set"][side]) for side in SIDES},
            "now": {side: format_value(row["now"][side]) for side in SIDES} if "now" in row else None,
            "difference": _interval(row["difference"], "+") if "now" in row else "",
            "better": called[row["better"]] if row.get("better") else "",
        }
        for name, row in content["metrics"].items()
    ]
    params = [
        (key, *(json.dumps(pair[side], ensure_ascii=False) for side in SIDES))
        for key, pair in content["params"].items()
    ]
    write_text(
        path, render("compare.html.j2", called=called, content=content, metrics=metrics, params=params)
    )


def _interval(found: Mapping[str, float] | None, sign: str = "") -> str:
    if found is None:
        return ""
    value, low, high = (format_value(found[part], sign=sign) for part in ("value", "low", "high"))
    return f"{value} ({low} to {high})"

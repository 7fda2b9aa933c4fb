"""Two models side by side: what they were made from, and how they answer for the same rows of today's test set.

Says who is better, and promotes nobody: that is the gate's. Rows are drawn and operating points found as the gate does
it. Every interval is of one metric alone; of ten metrics one may well look better by chance. Both count as judged: the
ledger of the test set gets a line of each, before they are asked.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.data.samples import read_sample_rows
from pipeline.evaluation.ledger import note_use
from pipeline.evaluation.measures import Measures, OperatingPoint, Yardstick, measures_of, positive_index
from pipeline.evaluation.results import Bootstrap
from pipeline.evaluation.rows import TRAINED_ON, EvaluationRows, days_of, load_rows
from pipeline.evaluation.scoring import NotComparable, holdout_of, incompatibilities, score, unseen_positions
from pipeline.evaluation.two_sided import two_sided_difference
from pipeline.inputs.specs import OutputSpec, output_spec
from pipeline.metrics.intervals import DrawnTogether, Interval, few_groups, teaches_no_threshold
from pipeline.metrics.names import format_value, metric_words, primary_called
from pipeline.metrics.paired import unseen_loss
from pipeline.reports.html import Fact, data_fact, made_fact, pictures, render
from pipeline.reports.run import PICTURES
from pipeline.runtime import paths, processes
from pipeline.runtime.errors import DataRefused, InputMissing
from pipeline.runtime.files import file_digest, read_json, write_text
from pipeline.runtime.repository import without_register
from pipeline.runtime.strict_yaml import yaml_content
from pipeline.versions.whole import Whole

SIDES = ("first", "other")
KINDS = {"data": ("data/",), "code": ("pipeline/",), "models": ("models/", "reports/")}
"""What a file of a dvc.lock is, by how its path begins; anything else is `others`."""
MOST_SHOWN = 12
UNDEFINED = "not defined on these rows"
NOT_KNOWN = "not known"


@dataclass(frozen=True)
class Asking:
    """How two models are asked.

    Attributes:
        yardstick: How answers are measured.
        bootstrap: How intervals are made.
        min_rows: Below so many rows nobody is called better, as the gate decides nothing there.
        season: Steps of the seasonal naive forecast that errors are compared with; None for none.
    """

    yardstick: Yardstick
    bootstrap: Bootstrap
    min_rows: int
    season: int | None = None


def side_by_side(first: Whole, other: Whole, asking: Asking) -> dict[str, Any]:
    """Return how two models differ, as JSON content. TensorFlow must have been prepared.

    Args:
        first: One of them.
        other: The other.
        asking: How they are asked.

    Returns:
        `first`, `other`: what each is called and by what it is known; `params`: what differs, by key; `files`: what
        differs in their dvc.lock, by kind; either is None where nobody knows; `rows`: on how many each was fitted, and
        both; `metrics`: of each its own on its test set, and where both can be asked today's test rows, `now` of both
        with the `difference` and its interval, and who is `better`; `asked`: how many `rows`, or `why` none, and a
        `note` of what is to be thought of them.

    Raises:
        OSError: The ledger could not be written, so the test set stays closed.
    """
    called = _called(first, other)
    now, asked = _now((first, other), called, asking)
    cards = [_card(model) for model in (first, other)]
    names = sorted({*now, *(name for card in cards for name in card.get("test") or {})})
    metrics = {}
    for name in names:
        own = {side: (card.get("test") or {}).get(name) for side, card in zip(SIDES, cards, strict=True)}
        metrics[name] = {"on_its_own_test_set": own, **now.get(name, {})}
    return {
        "first": _described(first, called[0], cards[0]),
        "other": _described(other, called[1], cards[1]),
        "params": _params(first, other),
        "files": _files(first, other),
        "rows": _fitted_on(first, other),
        "metrics": metrics,
        "asked": asked,
        "confidence": asking.bootstrap.confidence,
    }


def _called(first: Whole, other: Whole) -> tuple[str, str]:
    """Return what people call them; where that is the same, the paths that they were given by."""
    names = [first.called, other.called]
    if names[0] == names[1]:
        names = [model.given or name for model, name in zip((first, other), names, strict=True)]
    return names[0], names[1]


def _card(model: Whole) -> dict[str, Any]:
    path = model.folder / "card.json"
    return dict(read_json(path)) if path.is_file() else {}


def _described(model: Whole, called: str, card: Mapping[str, Any]) -> dict[str, Any]:
    commit = model.tags.get("git.commit", "none")
    return {
        "called": called,
        "candidate": card.get("candidate"),
        "family": card.get("family"),
        "parameters": card.get("parameters"),
        "threshold": (card.get("operating_point") or {}).get("threshold"),
        "commit": commit if commit != "none" else None,
        "sha256": file_digest(model.keras_file, "sha256"),
        "bytes": model.keras_file.stat().st_size,
    }


# --- What they were made from.


def _params(first: Whole, other: Whole) -> dict[str, dict[str, Any]] | None:
    """Return what differs, by key: of what both dvc.lock recorded, else of their params.yaml; None: nobody knows."""
    found = [_recorded(_yaml(model, "dvc.lock") or {}) for model in (first, other)]
    if not all(found):
        # The params.yaml of this project may have changed since models/best was made.
        papers = [None if model.is_best else _yaml(model, "params.yaml") for model in (first, other)]
        found = [{} if paper is None else dict(_leaves(paper)) for paper in papers]
    if not all(found):
        return None
    keys = sorted(found[0].keys() | found[1].keys())
    pairs = {key: [side.get(key) for side in found] for key in keys}
    return {key: dict(zip(SIDES, pair, strict=True)) for key, pair in pairs.items() if pair[0] != pair[1]}


def _recorded(lock: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that the stages of a dvc.lock were run with, by key."""
    return {
        key: value
        for stage in without_register(lock).values()
        for name, content in stage.get("params", {}).get(paths.PARAMS_YAML.name, {}).items()
        for key, value in _leaves(content, name)
    }


def _leaves(content: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(content, Mapping) and content:
        for key, value in content.items():
            yield from _leaves(value, f"{above}.{key}" if above else str(key))
    else:
        yield above, content


def _yaml(model: Whole, name: str) -> dict[str, Any] | None:
    path = model.paper(name)
    return None if path is None else yaml_content(path.read_text(encoding="utf-8"), name)


def _files(first: Whole, other: Whole) -> dict[str, list[str]] | None:
    """Return the files whose digests differ, by kind; None where one of them has no dvc.lock."""
    digests = [_digests(_yaml(model, "dvc.lock") or {}) for model in (first, other)]
    if not all(digests):
        return None
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
    models: tuple[Whole, Whole], called: tuple[str, str], asking: Asking
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Return metric to both values, the difference and who is better; and how many rows were asked, or why none."""
    try:
        return _asked(models, called, asking)
    except NotComparable as error:
        why = str(error)
    except (FileNotFoundError, InputMissing) as error:
        why = f"something that it takes is not here: {error}"
    except (DataRefused, ValueError) as error:  # a label, a class or an answer that cannot be judged
        why = str(error)
    return {}, {"rows": 0, "why": why, "note": ""}


def _asked(
    models: tuple[Whole, Whole], called: tuple[str, str], asking: Asking
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    today = read_json(paths.FEATURES_STATE, "features")
    spec = output_spec(today)
    for model, name in zip(models, called, strict=True):
        _refuse_another_question(model, name, today)
        if not (model.folder / TRAINED_ON).is_file():
            raise NotComparable(
                f"nobody knows which rows {name} was trained on: {TRAINED_ON} is not among its papers; bundles and "
                "versions of early releases have none"
            )
    test = load_rows("test", asking.season)
    rows = test.take(unseen_positions(test, [model.folder for model in models]))
    if not len(rows):
        raise NotComparable("every test row of today was seen by one of them")
    measures = measures_of(rows, spec, asking.yardstick)
    points = [_point(model, name, spec, asking) for model, name in zip(models, called, strict=True)]
    for model in reversed(models):  # a champion mostly stands second, and was judged first
        note_use(holdout_of(test), file_digest(model.keras_file, "sha256"), "compare")
    first, other = (
        measures.scored(score(name, model.keras_file, model.folder, rows).predictions, point)
        for model, name, point in zip(models, called, points, strict=True)
    )
    scored = first, other
    blocks, note, decides = _drawn(rows, measures, asking)
    metrics = [measures.metrics(point) for point in points]
    found = {}
    for metric in metrics[0].keys() & metrics[1].keys():
        pair = metrics[0][metric], metrics[1][metric]
        try:
            values = [float(one(measures.y_true, said, None)) for one, said in zip(pair, scored, strict=True)]
            cost = 0.0
            if spec.num_classes and primary_called(metric).higher_is_better:
                cost = unseen_loss(measures.y_true, spec.num_classes, pair[0], blocks).cost
            difference = two_sided_difference(
                pair, measures.y_true, scored, unseen_loss=cost, **asking.bootstrap.over(blocks)
            )
        except ValueError:  # it does not exist for these rows, or not for enough of their resamples
            continue
        now = dict(zip(SIDES, values, strict=True))
        better = _better(metric, difference) if decides else ""
        found[metric] = {"now": now, "difference": difference.rounded(), "better": better}
    return found, {"rows": len(rows), "why": "", "note": note}


def _refuse_another_question(model: Whole, called: str, today: Mapping[str, Any]) -> None:
    """Refuse a model of another task or payload, or of other classes than today's; their order may be another one."""
    path = model.folder / "state.json"
    if not path.is_file():
        return
    own = read_json(path)
    if problems := incompatibilities(own, today, read_sample_rows().side_kinds):
        raise NotComparable(f"{called} cannot be asked what today's data asks: {'; '.join(problems)}")
    known, wanted = (set(output_spec(state).classes) for state in (own, today))
    if known != wanted:
        told = [
            f"{words} {', '.join(sorted(names))}"
            for words, names in (("it alone knows", known - wanted), ("it does not know", wanted - known))
            if names
        ]
        raise NotComparable(f"{called} was made for other classes than today's: {'; '.join(told)}")


def _drawn(
    rows: EvaluationRows, measures: Measures, asking: Asking
) -> tuple[DrawnTogether | None, str, bool]:
    """Return what is drawn together, as the gate draws it; a note on it; and whether anybody may be called better."""
    days = days_of(rows, read_json(paths.SPLIT_SUMMARY, "split")["method"])
    enough = days is not None and not few_groups(days)
    blocks = days if enough else measures.blocks
    if len(rows) < asking.min_rows:
        return (
            blocks,
            f"{len(rows)} rows are too few to call one better; at least {asking.min_rows} are needed.",
            False,
        )
    if few := few_groups(blocks):
        return blocks, f"Nobody is called better. {few}", False
    if days is not None and not enough:
        note = (
            f"The rows are of {len(days)} days only, so rows are drawn and not days: where those of a day are alike, "
            "the intervals are too narrow."
        )
        return blocks, note, True
    return blocks, "", True


def _point(model: Whole, called: str, spec: OutputSpec, asking: Asking) -> OperatingPoint:
    """Return the operating point as the gate finds it: from today's validation, but for what models/best holds.

    A model that was trained on the rows of validation is asked for those it has not seen and, where they are few, or of
    a handful of groups, keeps the point of its card, turned where that looks for the other one of two classes.

    Raises:
        NotComparable: It needs one, and its card has none that fits.
    """
    if spec.task not in ("multilabel", "anomaly") and spec.num_classes != 2:
        return {}
    card = _card(model)
    val = load_rows("val")
    new = unseen_positions(val, [model.folder]) if card.get("refit") else np.arange(len(val))
    enough = len(new) >= (asking.min_rows if card.get("refit") else 1)
    if enough and not _is_that_of_best(model):
        val = val.take(new)
        on_val = measures_of(val, spec, asking.yardstick)
        if not teaches_no_threshold(on_val.blocks):
            return on_val.operating_point(score(called, model.keras_file, model.folder, val).predictions)
    point: dict[str, Any] = card.get("operating_point") or {}
    if spec.task == "anomaly":
        fits = bool(point.get("thresholds"))
    elif spec.task == "multilabel":
        fits = set(spec.classes) <= set(point.get("thresholds") or {})
    else:
        fits = "threshold" in point and point.get("positive_class") in spec.classes
    if not fits:
        raise NotComparable(
            f"the card of {called} has no operating point for what is asked today, and too few validation rows are "
            "left to find one"
        )
    if spec.task == "classification":
        positive = spec.classes[positive_index(spec, asking.yardstick.positive_class) or 0]
        if point["positive_class"] != positive:
            return {"positive_class": positive, "threshold": 1 - float(point["threshold"])}
    return point


def _is_that_of_best(model: Whole) -> bool:
    best = paths.BEST_DIR / "model.keras"
    return best.is_file() and file_digest(best, "sha256") == file_digest(model.keras_file, "sha256")


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
        lines += [f"  {asked['note']}"] if asked["note"] else []
    else:
        lines.append(
            f"Not asked the same rows: {asked['why'].rstrip('.')}. Each on the test set it was judged by:"
        )
    for name, row in content["metrics"].items():
        lines.append(f"  {metric_words(name):<22} {_told(row, called, asked=bool(asked['rows']))}")
    params, files, rows = content["params"], content["files"], content["rows"]
    if params is None:
        lines.append(f"params: {NOT_KNOWN}")
    else:
        lines.append(_changed("params", [f"{key} {_pair(pair)}" for key, pair in params.items()]))
    if files is None:
        lines.append(f"data, code, models: {NOT_KNOWN}, no dvc.lock of one")
    else:
        lines += [_changed(kind, listed) for kind, listed in files.items() if listed]
    counts = [NOT_KNOWN if rows[side] is None else f"{rows[side]:,}" for side in SIDES]
    shared = "" if rows["both"] is None else f" different rows, {rows['both']:,} shared"
    lines.append(f"fitted on: {counts[0]} and {counts[1]}{shared}")
    return lines


def _told(row: Mapping[str, Any], called: Mapping[str, str], *, asked: bool) -> str:
    if "now" not in row and asked:
        return UNDEFINED
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


def write_page(
    path: Path, content: Mapping[str, Any], drawn: tuple[Path | None, Path | None] = (None, None)
) -> None:
    """Write the comparison as one HTML page that opens offline.

    Args:
        path: The page.
        content: See `side_by_side`.
        drawn: Where the pictures of each lie; None where it has none.
    """
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
        for key, pair in (content["params"] or {}).items()
    ]
    told = {
        "called": called,
        "content": content,
        "metrics": metrics,
        "params": params,
        "undefined": UNDEFINED,
        **_pictures(drawn),
    }
    facts = [
        Fact(
            "model",
            ", ".join(
                [
                    called[side],
                    *(f"{part} {value}" for part, value in _told_short(content[side]).items() if value),
                ]
            ),
        )
        for side in SIDES
    ]
    if paths.SOURCE_JSON.is_file():
        facts.append(data_fact(read_json(paths.SOURCE_JSON)))
    write_text(path, render("compare.html.j2", facts=[*facts, made_fact(processes.now())], **told))


def _pictures(drawn: tuple[Path | None, Path | None]) -> dict[str, Any]:
    """Return the `pairs` of pictures that both have, what matters most first, and the titles of one `alone`."""
    first, other = (
        {} if folder is None else {one.title: one for one in pictures(folder, PICTURES)} for folder in drawn
    )
    return {
        "pairs": [{"first": first[title], "other": other[title]} for title in first if title in other],
        "alone": {"first": sorted(first.keys() - other.keys()), "other": sorted(other.keys() - first.keys())},
        "drawn": {"first": bool(first), "other": bool(other)},
    }


def _told_short(model: Mapping[str, Any]) -> dict[str, str]:
    return {"sha256": model["sha256"][:12], "commit": (model["commit"] or "")[:12]}


def _interval(found: Mapping[str, float] | None, sign: str = "") -> str:
    if found is None:
        return ""
    value, low, high = (format_value(found[part], sign=sign) for part in ("value", "low", "high"))
    return f"{value} ({low} to {high})"

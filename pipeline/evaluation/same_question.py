"""Whether a model that was made on earlier data can be asked what today's data asks.

What was fitted may differ: a vocabulary, a scale, the categories of a column, the steps of history that are
read. A model carries all of it and reads today's payload in its own way (`pipeline.inputs.from_state`). What is
asked may not differ, and what the model reads must still be there.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.data.samples import Kind
from pipeline.params.families import input_kind

State = Mapping[str, Any]
STATISTICS = ("mean", "standard_deviation")


def obstacles(own: State, today: State, side_kinds: Mapping[str, Kind]) -> list[str]:
    """Return why a model cannot answer for today's rows, in words; empty if it can.

    Args:
        own: Content of the `state.json` that travels with the model.
        today: Content of `data/features/state.json`.
        side_kinds: Side columns of today's samples and what they hold.
    """
    for part, usual in (("task", "classification"), ("payload", "image")):
        before, now = own.get(part, usual), today.get(part, usual)
        if before != now:  # nothing else is worth a comparison then
            return [f"its {part} is {before}, today's {now}"]
    checks = [_pixels(own, today), _columns(own, today), _windows(own, today), _targets(own, today)]
    return [problem for check in checks for problem in check] + list(_side(own, side_kinds))


def reads_alike(own: State, today: State, family: str) -> bool:
    """Return whether a model's inputs are those that lie in `data/features` already."""
    return _inputs(own, family) == _inputs(today, family)


def _inputs(state: State, family: str) -> dict[str, Any]:
    """Return what decides the arrays that a family reads."""
    described = {name: state[name] for name in ("series", "side", "windows") if name in state}
    if "text" in state:
        described["text"] = state["text"][input_kind(family, "text")]
    if "handmade" in state and family == "dense":
        # A model carries the statistics of these inside itself.
        described["handmade"] = {
            name: value for name, value in state["handmade"].items() if name not in STATISTICS
        }
    return described


def _pixels(own: State, today: State) -> Iterator[str]:
    if "image" not in own:
        return
    if own["image"]["shape"] != today["image"]["shape"]:
        yield f"image.shape is {own['image']['shape']}, today's {today['image']['shape']}"
    # How pixels came about: another way of resizing gives images of the same shape. Models from before it was
    # recorded pass.
    before, now = own.get("data", {}), today.get("data", {})
    for name in sorted(before.keys() & now.keys()):
        if before[name] != now[name]:
            yield f"data.{name} is {before[name]}, today's {now[name]}"


def _columns(own: State, today: State) -> Iterator[str]:
    if "series" not in own:
        return
    absent = [name for name in own["series"]["channels"] if name not in today["series"]["channels"]]
    if absent:
        yield f"it reads channels that the series no longer have ({', '.join(absent)})"


def _windows(own: State, today: State) -> Iterator[str]:
    before, now = own.get("windows"), today.get("windows")
    if bool(before) != bool(now):
        yield f"it reads {'windows' if before else 'whole series'}, today's rows are the other kind"
    if not before or not now:
        return
    asked = (
        ["horizon"] if now["horizon"] else ["horizon", "length"]
    )  # of anomalies the window itself is judged
    for name in asked:
        if before[name] != now[name]:
            yield f"data.windows.{name} is {before[name]}, today's {now[name]}"
    ahead = sorted(set(_known(before)) - set(_known(now)))
    if ahead:
        yield f"it is told ahead of time what data.windows no longer names as known ({', '.join(ahead)})"


def _known(windows: State) -> list[str]:
    known = windows["side"]["known"]
    return [column["name"] for column in (*known["numbers"], *known["categories"])]


def _targets(own: State, today: State) -> Iterator[str]:
    before, now = (state.get("target", {}).get("names", []) for state in (own, today))
    if before != now:
        yield f"it predicts {', '.join(before) or 'nothing'}, today's target is {', '.join(now) or 'none'}"


def _side(own: State, side_kinds: Mapping[str, Kind]) -> Iterator[str]:
    for kind, columns in (("number", "numbers"), ("category", "categories")):
        for column in (own.get("side") or {}).get(columns, []):
            found = side_kinds.get(column["name"], "missing")
            if found != kind:
                yield f"it reads the {kind} {column['name']} beside each sample, today's is {found}"

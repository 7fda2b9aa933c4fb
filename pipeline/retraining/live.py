"""What servers saw, as a reason to retrain: drift of what they were asked, and the primary metric by later labels.

`millrace watch` looks, in a process of its own: whatever happens there, the night goes on.
"""

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.retraining.children import Children
from pipeline.retraining.triggers import DriftBounds, LiveDrift, LiveMetric, LiveTriggers, Trigger
from pipeline.runtime import processes

SAME = "; the data is the same, so the same model would come out"
FOUND = (0, 3)
"""Exit codes of a look that succeeded."""


def live_triggers(
    children: Children, wanted: LiveTriggers | None, bounds: DriftBounds, *, new_data: bool
) -> list[Trigger]:
    """Return a trigger for each that retrain.yaml asks for; a log that cannot be read is no reason and stops no night.

    Args:
        children: Runs `millrace watch`; paths start at its project.
        wanted: Section `triggers` of retrain.yaml.
        bounds: Section `drift`: its significance and `report` count here too.
        new_data: Whether the data differs from that of the last results; else the same model would come out.
    """
    found = []
    if wanted and wanted.live_drift:
        found.append(("live_drift", *_drift(children, wanted.live_drift, bounds)))
    if wanted and wanted.live_metric:
        found.append(("live_metric", *_metric(children, wanted.live_metric)))
    return [
        Trigger(name, fired and new_data, figures + (SAME if fired and not new_data else ""))
        for name, fired, figures in found
    ]


def _drift(children: Children, wanted: LiveDrift, bounds: DriftBounds) -> tuple[bool, str]:
    level = ["--significance", str(bounds.significance), "--effect", str(bounds.report)]
    content = _watched(children, wanted.log, wanted.days, level)
    if isinstance(content, str):
        return False, content
    if not content["has_reference"]:
        return False, f"{_called(content)} have no reference to compare with"
    largest = ", ".join(f"{one['what']} {one['effect']:.2f}" for one in content["drift"][:3])
    said = f"drift of {', '.join(content['drifted'])}" if content["drifted"] else "no drift"
    compared = f" (largest: {largest})" if largest else ""
    return bool(content["drifted"]), f"{said} in {_called(content)}{compared}"


def _metric(children: Children, wanted: LiveMetric) -> tuple[bool, str]:
    labels = str(children.project / wanted.labels)
    named = ["--labels", labels, "--id", wanted.id, "--label", wanted.label]
    content = _watched(children, wanted.log, wanted.days, named)
    if isinstance(content, str):
        return False, content
    primary = content["primary"] or ""
    found = content["metrics"].get(primary)
    if not found or not found["test"]:
        return False, "the primary metric cannot be told from these labels"
    live, test = (
        f"{one['value']:.4g} ({one['low']:.4g} to {one['high']:.4g})"
        for one in (found["live"], found["test"])
    )
    return content["fallen"], (
        f"{primary.replace('_', ' ')} {live} by {content['labels']['judged']:,} labels, {test} on test, in "
        f"{_called(content)}"
    )


def _watched(children: Children, log: str, days: float, more: Sequence[str]) -> dict[str, Any] | str:
    """Return what `millrace watch` says, or why it says nothing."""
    since = (processes.now() - dt.timedelta(days=days)).isoformat()
    answer = children.watch(str(children.project / log), "--since", since, *more)
    if answer.code not in FOUND:
        told = [line for line in answer.err.splitlines() if line.strip()] or ["no reason given"]
        return f"cannot be looked at: {told[0]}"
    content: dict[str, Any] = json.loads(answer.out)
    return content


def _called(content: Mapping[str, Any]) -> str:
    model = content["model"]
    version = f"/{model['version']}" if model["version"] else ""
    return f"{sum(content['outcomes'].values()):,} records of {model['name']}{version}"

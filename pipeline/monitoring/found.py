"""What a log says of a model, and how a shadow or a canary compares, in sentences: for a terminal, and for the page."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.metrics.names import format_value, metric_words
from pipeline.monitoring.drift import Finding
from pipeline.monitoring.reading import Seen
from pipeline.monitoring.rows import SHADOW
from pipeline.runtime.errors import UserError

MOST_PAIRS = 5
"""Of answers that differ, on a line."""


@dataclass(frozen=True)
class Watched:
    """What was found.

    Attributes:
        seen: Counts.
        content: All of it as JSON content.
        drifted: What drifted.
        fallen: Whether the primary metric fell.
        untold: Why a log in which nothing was found may still hold something; None if all was looked at.
    """

    seen: Seen
    content: dict[str, Any]
    drifted: tuple[Finding, ...]
    fallen: bool
    untold: UserError | None = None

    @property
    def quiet(self) -> bool:
        """Return whether nothing was found."""
        return not self.drifted and not self.fallen


def lines_of(watched: Watched, most: int = 12) -> list[str]:
    """Return what was found, for a terminal."""
    content, paper = watched.content, watched.seen.paper
    total, outcomes = content["total"], content["outcomes"]
    counted = ", ".join(f"{rows:,} {name}" for name, rows in outcomes.items()) or "no record"
    span = f", {content['from']} to {content['to']}" if content["from"] else ""
    lines = [f"{paper.called}: {counted} in {content['requests']:,} requests{span}"]
    said = []
    if total["p50_milliseconds"] is not None:
        said.append(f"p50 {total['p50_milliseconds']:.3g} ms, p99 {total['p99_milliseconds']:.3g} ms")
    if total["confidence"] is not None:
        said.append(f"mean confidence {total['confidence']:.3f}")
    if total["alarm_share"] is not None:
        said.append(f"alarms {total['alarm_share']:.2%}")
    lines += ["  " + ", ".join(said)] if said else []
    if content["drift"]:
        count = len(content["drifted"])
        level = (
            f"at most {content['significance']:g} false alarms a look, effects from {content['effect']:g} on"
        )
        lines.append(f"drift: {count} of {len(content['drift'])} comparisons ({level})")
        for one in content["drift"][:most]:
            mark = "*" if one["drifted"] else " "
            lines.append(
                f"  {mark} {one['what']}: {one['effect']:.3f} (noise up to {one['noise']:.3f}, p {one['p_value']:.2g})"
            )
        if len(content["drift"]) > most:
            lines.append(f"    and {len(content['drift']) - most} smaller ones")
    if "labels" in content:
        lines += label_lines(content)
    for other in content["beside"]:
        lines += beside_lines(other)
    return [*lines, *content["notes"]]


def label_lines(content: Mapping[str, Any]) -> list[str]:
    """Return what labels say, for a terminal; `*` stands before a primary metric that fell."""
    counted = content["labels"].items()
    lines = ["labels: " + ", ".join(f"{rows:,} {name.replace('_', ' ')}" for name, rows in counted if rows)]
    for name, one in content["metrics"].items():
        test = one["test"]
        of_test = f"; test {interval_words(test)}" if test else ""
        mark = "*" if content["fallen"] and name == content["primary"] else " "
        lines.append(f"  {mark} {metric_words(name)} {interval_words(one['live'])}{of_test}")
    return lines


def interval_words(one: Mapping[str, float], sign: str = "") -> str:
    """Return a value with its interval as people read it; `sign` "+" for differences."""
    value, low, high = (format_value(one[name], sign=sign) for name in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def beside_lines(one: Mapping[str, Any]) -> list[str]:
    """Return how a shadow or a canary compares, for a terminal."""
    lines = [f"{one['role']} {one['called']}: {told}" for told in beside_rows(one)[:1]]
    lines += [f"    {told}" for told in beside_rows(one)[1:]]
    for name, metric in beside_metrics(one).items():
        apart = f", difference {metric['difference']}" if metric["difference"] else ""
        lines.append(
            f"    {metric_words(name)} {metric['first']}, the {one['role']} {metric['second']}{apart}"
        )
    return lines + [f"    {note}" for note in one["notes"]]


def beside_metrics(one: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return the metrics of both by labels that came later, in words."""
    return {
        name: {
            "first": interval_words(metric["first"]),
            "second": interval_words(metric["second"]),
            "difference": interval_words(metric["difference"], "+") if metric["difference"] else "",
        }
        for name, metric in one.get("metrics", {}).items()
    }


def beside_rows(one: Mapping[str, Any]) -> list[str]:
    """Return what is known of a shadow or a canary without labels, in sentences."""
    return _shadow_rows(one) if one["role"] == SHADOW else _canary_rows(one)


def _shadow_rows(one: Mapping[str, Any]) -> list[str]:
    rows = [f"{one['records']:,} of the same records"]
    if one["agreement"]:
        rows[0] += f", the same answer to {interval_words(one['agreement'])}"
    for name, apart in one["differences"].items():
        rows.append(
            f"{name}: differs by {apart['mean_absolute']:.3g} in the mean, p99 {apart['p99']:.3g}, at most "
            f"{apart['largest']:.3g}"
        )
    told = [
        f"{two['first']} and {two['second']} {two['records']:,}" for two in one["disagreements"][:MOST_PAIRS]
    ]
    rows += [f"where they differ (first, shadow): {', '.join(told)}"] if told else []
    words = {"both": "both", "first_alone": "the first alone", "second_alone": "the shadow alone"}
    refused = {words[name]: count for name, count in one["refused"].items() if count}
    rows += (
        ["refused by " + ", by ".join(f"{name} {count:,}" for name, count in refused.items())]
        if refused
        else []
    )
    return rows + _time_rows(one["model_milliseconds"], "processor time of the model")


def _canary_rows(one: Mapping[str, Any]) -> list[str]:
    first, second = one["first"], one["second"]
    share = f"{second['requests']:,} requests, {one['share_of_requests']:.1%} of those while there was one"
    rows = [f"{share}; refused {_share(second)} of its records, {_share(first)} of the others"]
    if one["answers"]:
        apart = f"answers: differ by {one['answers']['difference']:.3g}"
        rows.append(f"{apart} (p {one['answers']['p_value']:.2g}, if no client asked twice)")
    rows += [
        f"mean {name}: {mean:.4g}, the canary {second['means'][name]:.4g}"
        for name, mean in first["means"].items()
        if name in second["means"]
    ]
    for what, name in (("a request", "milliseconds"), ("processor time of the model", "model_milliseconds")):
        rows += _time_rows({side: one[side][name] for side in ("first", "second")}, what)
    return rows


def _share(sample: Mapping[str, Any]) -> str:
    return f"{sample['refused'] / sample['records']:.2%}"


def _time_rows(both: Mapping[str, Mapping[str, float | None]], what: str) -> list[str]:
    ends = [both[side][name] for side in ("first", "second") for name in ("p50", "p99")]
    if None in ends:
        return []
    told = [f"{end:.3g}" for end in ends]
    return [f"{what}: p50 {told[0]}, p99 {told[1]} ms; of the second p50 {told[2]}, p99 {told[3]} ms"]

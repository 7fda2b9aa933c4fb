"""What a log says of a model: drift against its reference, how it did over time, what labels say; and a verdict."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.evaluation.measures import Yardstick
from pipeline.metrics.names import metric_words, primary_called
from pipeline.monitoring.comparison import Looked, beside
from pipeline.monitoring.drift import EFFECT, MIN_ROWS, SIGNIFICANCE, Finding, compared
from pipeline.monitoring.found import Watched
from pipeline.monitoring.labels import Labels, read_labels, require_joined
from pipeline.monitoring.reading import (
    HIGHEST_US,
    LOWEST_US,
    Hour,
    Seen,
    as_time,
    newest_in,
    over_time,
    papers_in,
    read_log,
    told,
)
from pipeline.monitoring.reference import block_from
from pipeline.monitoring.rows import ANSWERS, CANARY, SHADOW, Answering
from pipeline.monitoring.worth import Drawn, live_metrics
from pipeline.runtime.errors import DataRefused, InputMissing, StorageFailed, UserError

NO_REFERENCE = (
    "The model has no reference.json, so that drift cannot be told: confidence, alarms, refusals, latency and labels "
    "alone. `dvc repro evaluate` writes one."
)


@dataclass(frozen=True)
class Asked:
    """What is looked at.

    Attributes:
        log: Folder that a server wrote to.
        model: NAME or NAME/VERSION of a model in it, or the digest of its papers; "" for the one that answered last.
        since: From when on, microseconds since 1970; None for ever.
        until: Before when; None for ever.
        labels: Table of labels; None for none.
        id_column: Of the labels.
        label_columns: The same; () for the usual names.
        significance: Chance of a false alarm of drift; None for the usual one.
        effect: Smallest drift that counts; None for the usual one.
    """

    log: Path
    model: str = ""
    since: int | None = None
    until: int | None = None
    labels: Path | None = None
    id_column: str = "id"
    label_columns: Sequence[str] = ()
    significance: float | None = None
    effect: float | None = None


def watch(asked: Asked) -> Watched:
    """Return what a log says of one model.

    Raises:
        InputMissing: There is no such log or model, it has no records of that time, or there are no labels.
        DataRefused: The labels cannot be read, or none belongs to an answer.
        WronglyCalled: They have other columns than the model answers.
    """
    papers = papers_in(asked.log)
    paper = _wanted(asked, papers)
    labels = None
    if asked.labels is not None:
        labels = read_labels(asked.labels, asked.id_column, asked.label_columns, paper.spec)
    since = LOWEST_US if asked.since is None else asked.since
    until = HIGHEST_US if asked.until is None else asked.until
    seen = read_log(asked.log, paper, papers, since=since, until=until, labels=labels)
    _require_records(seen, asked)
    findings = _findings(seen, asked)
    drifted = tuple(one for one in findings if one.drifted)
    all_hours = Hour()
    for hour in seen.hours.values():
        all_hours.join(hour)
    content: dict[str, Any] = {
        "model": {"name": paper.name, "version": paper.version or None, "digest": paper.digest},
        "from": None if seen.first is None else as_time(seen.first),
        "to": None if seen.last is None else as_time(seen.last),
        "requests": seen.requests,
        "outcomes": dict(sorted(seen.outcomes.items())),
        "roles": dict(sorted(seen.roles.items())),
        "other_models": dict(sorted(seen.others.items())),
        "unread_parts": seen.unread,
        "total": told(all_hours),
        "over_time": over_time(seen),
        "has_reference": bool(paper.reference),
        "drift": [one.as_json() for one in findings],
        "drifted": [one.what for one in drifted],
        **_level(asked),
    }
    fallen = False
    yardstick, drawn = measured_by(paper)
    if labels is not None:
        require_joined(labels)
        judged, fallen = judged_by(labels, paper, yardstick, drawn)
        content |= judged
    looked = Looked(asked.log, paper, since, until, labels, yardstick, drawn)
    content["beside"] = beside(looked, papers)
    content["notes"] = _notes(seen, labels, fallen=fallen)
    return Watched(seen, content, drifted, fallen, _untold(asked, content, paper))


def _require_records(seen: Seen, asked: Asked) -> None:
    if seen.rows or seen.unread:
        return
    span = " ".join(
        f"{name} {as_time(when)}"
        for name, when in (("since", asked.since), ("until", asked.until))
        if when is not None
    )
    others = ", ".join(f"{rows:,} of {name}" for name, rows in sorted(seen.others.items()))
    raise InputMissing(
        f"{asked.log} holds no records of {seen.paper.called} of that time. Expected at least one. Received: none "
        f"{span}{f', and {others}' if others else ''}. Ask for a longer time or another model, and check that the "
        "server runs and writes there."
    )


def _untold(asked: Asked, content: dict[str, Any], paper: Answering) -> UserError | None:
    if unread := content["unread_parts"]:
        return StorageFailed(
            f"{len(unread)} part files of {asked.log} cannot be read and were left out, so that this look is not "
            f"whole. Expected Parquet as `millrace serve --log` writes it. Received: {', '.join(unread[:3])}. Restore "
            "them, or remove them, and look again."
        )
    if "metrics" not in content or paper.spec.task == "anomaly":
        return None
    found = content["metrics"].get(content["primary"])
    if found and found["test"]:
        return None
    named = metric_words(content["primary"]) if content["primary"] else "A primary metric"
    lacking = (
        "these labels do not give it" if content["primary"] and not found else "card.json does not hold it"
    )
    return DataRefused(
        f"{named} cannot be compared with that on the test set, so that nobody knows whether it fell. Expected labels "
        f"of every class it needs, and a model with its metrics in card.json. Received: {content['labels']['judged']} "
        f"judged labels; {lacking}. Wait for more labels, or look without --labels."
    )


def _wanted(asked: Asked, papers: dict[str, Answering]) -> Answering:
    if not asked.model:
        return newest_in(asked.log, papers)
    found = [paper for paper in papers.values() if asked.model in (paper.name, paper.called, paper.digest)]
    if found:
        return newest_in(asked.log, {paper.digest: paper for paper in found})
    known = ", ".join(sorted(paper.called for paper in papers.values())) or "none"
    raise InputMissing(
        f"{asked.log} holds no answers of that model. Expected one of {known}, or its folder. Received: {asked.model}. "
        "Name one of them, or none for the one that answered last."
    )


def _findings(seen: Seen, asked: Asked) -> list[Finding]:
    if seen.train is None or seen.test is None:
        return []
    known = [block_from(seen.paper.reference[name]) for name in ("train", "test")]
    return compared(
        known,
        [seen.train, seen.test],
        overlap=seen.paper.overlap,
        **_level(asked),
    )


def _level(asked: Asked) -> dict[str, float]:
    return {
        "significance": SIGNIFICANCE if asked.significance is None else asked.significance,
        "effect": EFFECT if asked.effect is None else asked.effect,
    }


def measured_by(paper: Answering) -> tuple[Yardstick, Drawn]:
    """Return how answers of a model are measured, and how intervals are made: as on its evaluation, if it says so."""
    judged = paper.reference.get("judged") or {}
    yardstick = Yardstick(judged.get("num_bins", 15), judged.get("positive_class"))
    return yardstick, Drawn(*(judged[name] for name in Drawn._fields)) if judged else Drawn()


def judged_by(
    labels: Labels, paper: Answering, yardstick: Yardstick, drawn: Drawn
) -> tuple[dict[str, Any], bool]:
    """Return what labels say, and whether the primary metric fell: its whole interval lies beyond that on test."""
    point = {} if paper.spec.task == "anomaly" else paper.card.get("operating_point") or {}
    live = live_metrics(labels, point, yardstick, drawn)
    on_test = paper.card.get("test") or {}
    metrics: dict[str, dict[str, Any]] = {
        name: {"live": interval.rounded(), "test": on_test.get(name)} for name, interval in live.items()
    }
    primary = (paper.card.get("primary") or {}).get("name", "")
    fallen = False
    if primary in metrics and metrics[primary]["test"]:
        now, before = metrics[primary]["live"], metrics[primary]["test"]
        higher = primary_called(primary).higher_is_better
        fallen = now["high"] < before["low"] if higher else now["low"] > before["high"]
    return {
        "labels": labels.counts(),
        "primary": primary or None,
        "metrics": metrics,
        "fallen": fallen,
        "confidence_of_intervals": drawn.confidence,
    }, fallen


def _notes(seen: Seen, labels: Labels | None, *, fallen: bool) -> list[str]:
    notes = []
    if not seen.paper.reference:
        notes.append(NO_REFERENCE)
    elif seen.rows < MIN_ROWS:
        notes.append(f"{seen.rows} records; {MIN_ROWS} are needed to compare distributions.")
    if seen.others:
        counts = ", ".join(f"{rows:,} of {name}" for name, rows in sorted(seen.others.items()))
        notes.append(f"Left out: {counts}.")
    for role, what in ((SHADOW, "a shadow: nobody got them"), (CANARY, "a canary, to some clients")):
        if seen.roles[role]:
            notes.append(f"{seen.roles[role]:,} of its {seen.rows:,} answers were given as {what}.")
    if not seen.roles[ANSWERS] and seen.rows:
        notes.append("It is compared with the model that answered where that one is watched.")
    if seen.unread:
        notes.append(
            f"{len(seen.unread)} part files cannot be read and are left out, first {seen.unread[0]}."
        )
    if labels is not None:
        primary = (seen.paper.card.get("primary") or {}).get("name", "")
        if seen.paper.spec.task == "anomaly":
            notes.append(
                "Labels judge single alarms here; the test set judged events of a series, which a log does not know."
            )
        if labels.contradicted:
            notes.append(f"{len(labels.contradicted)} ids have two different labels and do not count.")
        if labels.unknown:
            notes.append(
                f"{labels.unknown} labels are of classes that the model does not know: it was wrong there."
            )
        if fallen:
            notes.append(
                f"{metric_words(primary)} fell: its whole interval is worse than that on the test set."
            )
    return notes

"""What the gate is asked: the models with their answers, how strict it is, and how one check ends."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pipeline.metrics.classification import BoolArray, IntArray, Metric
from pipeline.metrics.decisions import Threshold, decided, labels_decided
from pipeline.metrics.intervals import DrawnTogether, Interval
from pipeline.metrics.names import Primary

Truth = npt.NDArray[Any]
Mode = Literal["superiority", "non_inferiority"]
GROUP = "group"
"""Slices of this column are groups of examples, see `gate.checks`."""
SMALLEST_NUMBER_OF_ROWS = 30
"""Below this a bootstrap interval is too narrow to be believed (its coverage falls short by several %)."""
SMALLEST_SUPPORT = 10
"""Fewer examples of a class or slice say nothing of it: even four of ten lost are within chance."""


@dataclass(frozen=True)
class ScoredModel:
    """A model and what it answered on the examples of the comparison.

    Attributes:
        name: How messages call it.
        model_sha256: Digest (hex) of the model's file; equal digests are the same model. "" where unknown.
        classes: Class names in the order of the columns of `predictions`; () for other tasks.
        sample_ids: Which examples were scored, in order.
        predictions: As `metric` takes them: probabilities, shape (num_examples, num_classes), or values or
            scores in the shape of what is true.
        metric: The primary metric, with the model's own threshold where it has one.
        metrics: Every metric that exists for these examples by its name, for floors and calibration.
        threshold: From where on it says the positive one of two classes; None: the most probable one is said.
        thresholds: Of several labels: where the model says each; else None.
    """

    name: str
    model_sha256: str
    classes: Sequence[str]
    sample_ids: Sequence[str]
    predictions: npt.NDArray[np.floating]
    metric: Metric
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    threshold: Threshold | None = None
    thresholds: tuple[float, ...] | None = None

    @property
    def said(self) -> IntArray:
        """Return the index of the class it says per example, as it would be used; classification only."""
        return decided(self.predictions, self.threshold)

    @property
    def point(self) -> dict[str, Any]:
        """Return where it says one of two classes, or each label, as an operating point; {} where argmax decides."""
        if self.thresholds is not None:
            return {"thresholds": dict(zip(self.classes, self.thresholds, strict=True))}
        if self.threshold is None:
            return {}
        at = self.threshold
        return {"positive_class": self.classes[at.positive], "threshold": at.value}

    @property
    def labels_said(self) -> npt.NDArray[np.bool_]:
        """Return which labels it says of each example, shape (num_examples, num_classes); several labels only."""
        return labels_decided(self.predictions, self.thresholds or ())


@dataclass(frozen=True)
class Rules:
    """How strict the gate is; None is not demanded.

    Attributes:
        primary: The metric that decides.
        margin: By how much it must be better, in [0, 1): of a score so much, of an error or a loss that
            share of the opponent's.
        confidence: Of the two-sided interval, [0.9, 1).
        resamples: Bootstrap resamples.
        seed: Of the resamples.
        rows: Fewest examples a comparison may rest on; of groups see `SMALLEST_NUMBER_OF_GROUPS` too.
        mode: `superiority`: better than the champion by more than `margin`; `non_inferiority`: not worse
            than it by `non_inferiority_margin`. The same of the last model that was promoted as better, so that
            refreshes do not add up. Baselines are always to be beaten by more than `margin`.
        non_inferiority_margin: In the units of `margin`; None in the other mode.
        floors: Name of a metric to the least value of it (of an error or a loss: the greatest).
        class_tolerance: How much of the recall of a class, or of the F1 of a label, may be lost to the champion, a
            share.
        slices: Names of the columns that cut the test rows.
        slice_tolerance: How much worse a slice may be, in the units of `margin`, classes counting right
            answers.
        min_support: Fewest examples, or groups of them, by which a class or slice is judged.
        calibration_budget: By how much the expected calibration error may rise.
        max_size_mib: Largest model file.
        max_latency_ms: Longest single prediction of the exported model, median.
    """

    primary: Primary
    margin: float
    confidence: float
    resamples: int
    seed: int
    rows: int = SMALLEST_NUMBER_OF_ROWS
    mode: Mode = "superiority"
    non_inferiority_margin: float | None = None
    floors: Mapping[str, float] | None = None
    class_tolerance: float | None = None
    slices: tuple[str, ...] = ()
    slice_tolerance: float | None = None
    min_support: int = SMALLEST_SUPPORT
    calibration_budget: float | None = None
    max_size_mib: float | None = None
    max_latency_ms: float | None = None

    @property
    def tail(self) -> float:
        """Return the chance that is left to each side of an interval."""
        return (1 - self.confidence) / 2


@dataclass(frozen=True)
class Look:
    """One use of the test set, see `pipeline.gate.looks`.

    Attributes:
        number: Among the models that were judged on these rows since the champion was, from 1.
        on_rows: Among all that were judged on them.
        champion_was_chosen: Whether the champion was judged on them too, so that its score there is a chosen one.
    """

    number: int
    on_rows: int
    champion_was_chosen: bool


@dataclass(frozen=True)
class Question:
    """Everything a decision is made of.

    Attributes:
        y_true: What is true of each example; class indices in the order of `challenger.classes`, or 0 and 1 per label.
        challenger: The model that wants to be champion.
        champion: The present one, scored again now; None if there is none.
        baselines: Majority and linear, say: those that the challenger must beat.
        superior: The last model that became champion by being better, scored again now; None where that is the
            champion itself, or there is none.
        refreshes: How many became champion since then by being not worse.
        look: Which use of the test set this is; None where it is the only one there will be.
        blocks: Which examples are drawn together in a bootstrap.
        few_days: Days that the rows of a split by time are of, where these are too few to be drawn; else 0.
        slices: `column=value` to which examples are in it, shape (num_examples,).
        trials: See `intervals.metric_intervals`.
        size_bytes: Of the challenger's file; None: unknown.
        latency_ms: Of a single prediction of it, measured now; None: unknown.
        peers: Where the challenger is a baseline itself, the other baselines, of which none may be better; else None.
    """

    y_true: Truth
    challenger: ScoredModel
    champion: ScoredModel | None
    baselines: Sequence[ScoredModel]
    superior: ScoredModel | None = None
    refreshes: int = 0
    look: Look | None = None
    blocks: DrawnTogether | None = None
    few_days: int = 0
    slices: Mapping[str, BoolArray] = field(default_factory=dict)
    trials: Mapping[str, int] = field(default_factory=dict)
    size_bytes: int | None = None
    latency_ms: float | None = None
    peers: Sequence[ScoredModel] | None = None

    @property
    def opponents(self) -> tuple[ScoredModel, ...]:
        """Return whom the challenger is compared with, the champion first."""
        reigned = [model for model in (self.champion, self.superior) if model]
        return (*reigned, *self.baselines, *(self.peers or ()))


@dataclass(frozen=True)
class Check:
    """One thing the gate looked at.

    Attributes:
        name: What, in a few words.
        verdict: `met`, `failed` (no promotion), or `told`: it decides nothing.
        expected: What was demanded, in words.
        received: What was found, in words; nothing that differs from run to run.
        interval: Of what was found, where it has one.
    """

    name: str
    verdict: Literal["met", "failed", "told"]
    expected: str
    received: str
    interval: Interval | None = None

    @property
    def sentence(self) -> str:
        """Return it for people."""
        return f"{self.name[:1].upper()}{self.name[1:]}: expected {self.expected}, received {self.received}."

    def as_json(self) -> dict[str, Any]:
        """Return it as decision.json holds it."""
        return {
            "expected": self.expected,
            "interval": self.interval.rounded() if self.interval else None,
            "name": self.name,
            "received": self.received,
            "verdict": self.verdict,
        }


def met(fulfilled: bool) -> Literal["met", "failed"]:
    """Return the verdict of something demanded."""
    return "met" if fulfilled else "failed"


def discordant(question: Question, champion: ScoredModel) -> tuple[int, int]:
    """Return how many examples only the challenger, and only the champion, answers right."""
    found = gains(question, champion)
    return int(np.sum(found > 0)), int(np.sum(found < 0))


def gains(question: Question, champion: ScoredModel) -> IntArray:
    """Return per example 1 where only the challenger is right, -1 where only the champion is, else 0."""
    ours, theirs = (model.said == question.y_true for model in (question.challenger, champion))
    found: IntArray = ours.astype(np.int64) - theirs
    return found

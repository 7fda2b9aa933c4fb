"""Sections of params.yaml about tuning: the search and its spaces."""

from typing import Annotated

from msgspec import Meta, field

from pipeline.settings.section import Count, Natural, Positive, Section


class Tune(Section, frozen=True):
    """The search around a baseline."""

    trials: Natural
    generation: Count
    reduction: Annotated[int, Meta(ge=2)]
    min_epochs: Count
    trial_limit_seconds: Positive
    workers: Count


class FloatRange(Section, frozen=True, tag_field="kind", tag="float"):
    """A real number between low and high, on a log scale if so wished."""

    low: float
    high: float
    log: bool = False


class IntRange(Section, frozen=True, tag_field="kind", tag="int"):
    """A whole number between low and high, both included."""

    low: int
    high: int
    log: bool = False


class Choice(Section, frozen=True, tag_field="kind", tag="choice"):
    """One of the listed values."""

    values: Annotated[tuple[int | float | str | bool, ...], Meta(min_length=2)]


Space = dict[str, FloatRange | IntRange | Choice]
"""Search space: dotted key below the candidate (`training.learning_rate`, `model.dropout`) to its range."""


class TuneOverride(Section, frozen=True):
    """What a candidate changes of the `tune` section, and its search space."""

    trials: Natural | None = None
    trial_limit_seconds: Positive | None = None
    space: Space = field(default_factory=dict)

"""The section `register` of params.yaml: under which name, and on what terms, a model becomes champion.

What may be absent is not demanded. No value switches the gate off: each range ends where a demand would be empty.
"""

from typing import Annotated, Literal

from msgspec import Meta

from pipeline.settings.section import Name, Section, Share

Tolerance = Annotated[float, Meta(ge=0, le=0.5)]
"""More than half of what the champion can do is no tolerance."""
Budget = Annotated[float, Meta(gt=0, le=1e6)]
"""Finite: an infinite budget would be none, and null says that better."""


class Register(Section, frozen=True):
    """Under which name, and on what terms, a model becomes champion."""

    model_name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    experiment: Annotated[str, Meta(min_length=1)]
    mode: Literal["superiority", "non_inferiority"]
    margin: Share
    min_rows: Annotated[int, Meta(ge=30)]
    """Test rows that no model was trained on or chosen by; see `gate_question.SMALLEST_NUMBER_OF_ROWS`."""
    min_support: Annotated[int, Meta(ge=10, le=1000)]
    """Test rows by which a class or a slice is judged; see `gate_question.SMALLEST_SUPPORT`."""
    uncommitted: Annotated[str, Meta(min_length=1, max_length=500)] | None
    """Why a model may become champion although no commit holds what it came from; recorded with it."""
    non_inferiority_margin: Annotated[float, Meta(gt=0, le=0.1)] | None = None
    """Mode non_inferiority must have it."""
    floors: Annotated[dict[Name, float], Meta(min_length=1)] | None = None
    class_tolerance: Tolerance | None = None
    """Classification must have it."""
    slices: Annotated[tuple[Name, ...], Meta(min_length=1)] | None = None
    slice_tolerance: Tolerance | None = None
    """Slices must have it."""
    calibration_budget: Tolerance | None = None
    """Classification must have it."""
    max_size_mib: Budget | None = None
    max_latency_ms: Budget | None = None

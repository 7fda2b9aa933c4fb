"""From `data/features/state.json` to what a model must know about its inputs and outputs."""

from collections.abc import Mapping
from typing import Any

from pipeline.settings.families import input_kind
from pipeline.specs import InputSpec, OutputSpec


def input_spec(state: Mapping[str, Any], family: str) -> InputSpec:
    """Return what goes into a model.

    Images: raw pixels, or hand-made features; texts: tokens, or a bag of n-grams; as the family reads them, see
    `pipeline.settings.families`. Series: series for all. Windows without a history: a vector of what is known about
    the step to predict.

    Args:
        state: Content of `data/features/state.json`.
        family: Name of the family, as in `candidates.<name>.family`.

    Raises:
        ValueError: Family `dense` without any hand-made feature of images.
    """
    num_side, categories = side_shape(state)
    payload = state.get("payload", "image")
    if payload == "image":
        return _image_spec(state, family, num_side, categories)
    if payload == "text":
        return _text_spec(state["text"], family, num_side, categories)
    series, windows = state["series"], state.get("windows")
    width = len(series["channels"])
    if windows is None:
        shape = (series["max_length"], width)
        return InputSpec(
            "series",
            shape,
            num_side=num_side,
            categories=categories,
            has_padding=series["has_padding"],
        )
    if windows["length"]:
        return InputSpec("series", (windows["length"], width), num_side=num_side, categories=categories)
    # Already to scale: models normalise vectors by these, which leaves them as they are.
    return InputSpec("vector", (num_side,), (0.0,) * num_side, (1.0,) * num_side, categories=categories)


def side_shape(state: Mapping[str, Any]) -> tuple[int, tuple[int, ...]]:
    """Return how many numbers stand beside a sample, and per embedded category how many ids it has."""
    side, windows = state.get("side"), state.get("windows")
    num_side = len(side["names"]) if side else 0
    categories: tuple[int, ...] = ()
    if side and side["mode"] == "embedded":
        categories = tuple(len(column["values"]) + 1 for column in side["categories"])
    return num_side + (len(windows["side"]["names"]) if windows else 0), categories


def output_spec(state: Mapping[str, Any]) -> OutputSpec:
    """Return what comes out of a model: a probability per class, numbers, or a reconstruction.

    Args:
        state: Content of `data/features/state.json`.
    """
    task = state.get("task", "classification")
    if task == "classification":
        return OutputSpec(tuple(state["classes"]), tuple(state["class_counts"]))
    if task == "anomaly":
        return OutputSpec(task=task)
    target = state["target"]
    return OutputSpec(
        task=task,
        targets=tuple(target["names"]),
        target_mean=tuple(target["mean"]),
        target_standard_deviation=tuple(target["standard_deviation"]),
        target_channels=tuple(target["channels"]),
        horizon=state["windows"]["horizon"] if task == "forecasting" else 1,
    )


def _image_spec(
    state: Mapping[str, Any], family: str, num_side: int, categories: tuple[int, ...]
) -> InputSpec:
    if input_kind(family, "image") == "image":
        kind, measured, shape = "image", state["image"], tuple(state["image"]["shape"])
    else:
        kind, measured = "vector", state["handmade"]
        shape = (len(measured["names"]),)
        if not measured["names"]:
            raise ValueError(
                "Family `dense` has no inputs. Expected at least one of colour, texture, edges. "
                "Received: features.groups=[]. Name a group, or remove the candidate."
            )
    return InputSpec(
        "image" if kind == "image" else "vector",
        shape,
        tuple(measured["mean"]),
        tuple(measured["standard_deviation"]),
        num_side=num_side,
        categories=categories,
    )


def _text_spec(text: Mapping[str, Any], family: str, num_side: int, categories: tuple[int, ...]) -> InputSpec:
    if input_kind(family, "text") == "bag":
        return InputSpec(
            "bag",
            (text["bag"]["max_bag"],),
            vocabulary_size=len(text["bag"]["terms"]) + 1,
            num_side=num_side,
            categories=categories,
        )
    return InputSpec(
        "tokens",
        (text["tokens"]["max_tokens"],),
        vocabulary_size=len(text["tokens"]["vocabulary"]) + 2,
        num_side=num_side,
        categories=categories,
        vectors_path=text["vectors"],
    )

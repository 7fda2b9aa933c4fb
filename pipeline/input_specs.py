"""From `data/features/state.json` to what a model must know about its inputs and outputs."""

from typing import Any

from pipeline.specs import InputSpec, OutputSpec


def input_spec(state: dict[str, Any], family: str) -> InputSpec:
    """Return what goes into a model: hand-made features for family `dense`, raw pixels for all others.

    Args:
        state: Content of `data/features/state.json`.
        family: Name of the family, as in `candidates.<name>.family`.

    Raises:
        ValueError: Family `dense` without any hand-made feature.
    """
    if family != "dense":
        image = state["image"]
        return InputSpec(
            "image", tuple(image["shape"]), tuple(image["mean"]), tuple(image["standard_deviation"])
        )
    handmade = state["handmade"]
    if not handmade["names"]:
        raise ValueError(
            "Family `dense` has no inputs. Expected at least one of colour, texture, edges. "
            "Received: features.groups=[]. Name a group, or remove the candidate."
        )
    return InputSpec(
        "vector",
        (len(handmade["names"]),),
        tuple(handmade["mean"]),
        tuple(handmade["standard_deviation"]),
    )


def output_spec(state: dict[str, Any]) -> OutputSpec:
    """Return what comes out of a model: one probability per class.

    Args:
        state: Content of `data/features/state.json`.
    """
    return OutputSpec(tuple(state["classes"]), tuple(state["class_counts"]))

"""A promotion that waits until one can go back to what it rests on, or that a person lets pass in words."""

from collections.abc import Mapping
from typing import Any

from pipeline.provenance.origin import Committed

HELD, PROMOTED = "held", "promoted"


def held_or_let_pass(
    decision: Mapping[str, Any], committed: Committed, uncommitted: str | None, *, reigns: bool
) -> dict[str, Any]:
    """Return the decision, turned from `promoted` into `held` where its origin is not committed.

    Args:
        decision: Content of decision.json as the gate made it.
        committed: Whether git holds what made the model.
        uncommitted: `register.uncommitted`: why it may be promoted all the same; it is recorded.
        reigns: Whether the model is champion already: it was let pass then, and nothing is left to hold.
    """
    if decision["decision"] != PROMOTED or reigns or not committed.problems:
        return dict(decision)
    if uncommitted is not None:
        return {**decision, "uncommitted": uncommitted}
    reasons = [*decision["reasons"], *(f"Not promoted yet. {problem}" for problem in committed.problems)]
    return {**decision, "decision": HELD, "reasons": reasons}

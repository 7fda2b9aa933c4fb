"""What `reports/register/decision.json` and the tags of a model version say about a decision.

Content only, no ids and no times: two clones that decide the same write the same bytes.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pipeline.gate.decision import Decision
from pipeline.gate.question import Rules
from pipeline.runtime.files import content_key


def decision_key(
    model_sha256: str,
    test_digest: str,
    rules: Rules,
    baselines: Mapping[str, str],
    judged_by: Mapping[str, Any] | None = None,
) -> str:
    """Return a digest of what a decision is about; equal keys ask the same question.

    Args:
        model_sha256: Of the model in question.
        test_digest: Of all that judges, see `pipeline.evaluation.scoring.scored_digest`.
        rules: How strict the gate is.
        baselines: Name of each baseline to the sha256 of its model.
        judged_by: How answers become metrics: bins, positive class, rules of alarms, thresholds.
    """
    return content_key([model_sha256, test_digest, asdict(rules), baselines, dict(judged_by or {})])


def decision_content(
    decision: Decision,
    *,
    key: str,
    candidate: str,
    model_sha256: str,
    opponent_sha256: str,
    rules: Rules,
    num_rows: int,
    rows_left_out: int,
) -> dict[str, Any]:
    """Return a decision as JSON content.

    Args:
        decision: What the gate said.
        key: See `decision_key`.
        candidate: Name of the chosen candidate.
        model_sha256: Of its file.
        opponent_sha256: Of the champion's file at that moment; "" if there was none.
        rules: Under which it was made.
        num_rows: How many test rows it rests on.
        rows_left_out: How many test rows one of the models was trained on or chosen by.
    """
    return {
        "candidate": candidate,
        "champion_before": opponent_sha256,
        "checks": [check.as_json() for check in decision.checks],
        "decision": decision.verdict,
        "differences": {name: interval.rounded() for name, interval in decision.differences.items()},
        "key": key,
        "model_sha256": model_sha256,
        "reasons": list(decision.reasons),
        "rules": asdict(rules) | {"slices": list(rules.slices)},
        "test_rows": num_rows,
        "test_rows_left_out": rows_left_out,
    }


def still_holds(
    recorded: Mapping[str, Any] | None, key: str, model_sha256: str, champion_sha256: str, *, applied: bool
) -> bool:
    """Return whether a recorded decision answers the question asked now.

    It does after a crash (written down, perhaps not carried out yet) and when nothing has changed since. It
    does not once somebody else became champion. A model that was held is judged anew: the gate's own word was
    not kept.

    Args:
        recorded: Content of an earlier decision, or None.
        key: Of the present question.
        model_sha256: Of the model in question.
        champion_sha256: Of the present champion, "" if there is none.
        applied: Whether the recorded decision was carried out.
    """
    if recorded is None or recorded["key"] != key or recorded["decision"] == "held":
        return False
    if _contradicts_itself(recorded):
        return False
    if recorded["decision"] == "refused":
        return bool(champion_sha256 == recorded["champion_before"])
    return champion_sha256 == model_sha256 or (not applied and champion_sha256 == recorded["champion_before"])


def _contradicts_itself(recorded: Mapping[str, Any]) -> bool:
    """Return whether a promotion carries a failed check, or no check: a tag is text that anybody may edit."""
    verdicts = [check["verdict"] for check in recorded.get("checks", [])]
    return recorded["decision"] == "promoted" and (not verdicts or "failed" in verdicts)

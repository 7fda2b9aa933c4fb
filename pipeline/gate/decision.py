"""Who may become champion: a pure decision about models scored on the same examples just now.

A challenger must beat every baseline (one that is a baseline itself: those that look at nothing, and no other may be
better) and, where there is one, the champion and the last model that was promoted as
better (or, in the mode for refreshes on newer data, not be worse than these by a margin). "Beats" means that the lower
end of the paired bootstrap interval of the improvement lies above the margin, at the level that is left for this look
at the test set: a champion loses to models which are no better with a chance of at most (1 - confidence) / 2, all
looks of its reign together. Floors, classes, slices, calibration, size and latency can only refuse. What cannot be
compared (NaN, other rows, other classes, too few rows, itself) is refused, never promoted.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pipeline.gate.checks import calibration, falls, floors, obstacles, same_answers, size_and_latency
from pipeline.gate.looks import sentence, spending, told
from pipeline.gate.opponents import improvements, mcnemar
from pipeline.gate.question import Check, Question, Rules
from pipeline.metrics.intervals import SMALLEST_NUMBER_OF_GROUPS, Interval
from pipeline.metrics.names import said_from
from pipeline.provenance.origin import Committed
from pipeline.runtime import paths
from pipeline.runtime.files import content_key, fsync_dir, remove_leftovers, write_text

MOST_REASONS = 5
"""Of failed checks beside the opponents; the rest stands in the table."""


@dataclass(frozen=True)
class Decision:
    """What the gate says, and why.

    Attributes:
        verdict: `promoted`, `refused`, or `unchanged` (the challenger is the champion).
        reasons: Sentences for people, at least one.
        differences: Improvement of the challenger over each opponent, by the opponent's name.
        checks: Everything that was looked at, in the order of the page.
    """

    verdict: Literal["promoted", "refused", "unchanged"]
    reasons: tuple[str, ...]
    differences: dict[str, Interval] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()


def decide(question: Question, rules: Rules) -> Decision:
    """Decide whether the challenger becomes champion.

    Args:
        question: The models, scored on the same examples, and what else is known of the challenger.
        rules: How strict.
    """
    challenger, champion = question.challenger, question.champion
    if champion and challenger.model_sha256 and challenger.model_sha256 == champion.model_sha256:
        return unchanged(challenger.name)
    found = obstacles(question, rules)
    if found:
        return refused_because(*found)
    # What is promised must be shown at the level that is left for this look; harm needs no more than before.
    strict = spending(rules, question.look)
    try:
        compared = improvements(question, strict)
    except ValueError as error:  # the metric does not exist for these examples
        return refused_because(str(error))
    itself = same_answers(question)
    if itself:
        return refused_because(itself)
    checks = [item.check for item in compared]
    reasons = [item.sentence for item in compared]
    if question.peers is not None:
        reasons.insert(0, _of_a_baseline(question))
    if question.look:
        checks.append(told(question.look, rules))
        reasons += [text for text in [sentence(question.look, rules)] if text]
    if thresholds := _thresholds(question):
        checks.append(thresholds)
    if question.few_days:
        checks.append(_of_few_days(question.few_days))
        reasons.append(f"Warning: {checks[-1].sentence}")
    if champion and challenger.classes and challenger.thresholds is None:
        opinion, disagreement = mcnemar(question, strict, compared[0])
        checks.append(opinion)
        reasons += [disagreement] if disagreement else []
    limits = [
        *floors(question, strict),
        *falls(question, rules),
        *calibration(question, rules),
        *size_and_latency(question, rules),
    ]
    failed = [check.sentence for check in limits if check.verdict == "failed"]
    reasons += failed[:MOST_REASONS]
    if len(failed) > MOST_REASONS:
        reasons.append(f"{len(failed) - MOST_REASONS} more checks failed.")
    checks += limits
    promoted = not failed and all(item.beaten for item in compared)
    differences = {item.opponent: item.interval for item in compared}
    return Decision("promoted" if promoted else "refused", tuple(reasons), differences, tuple(checks))


def _of_a_baseline(question: Question) -> str:
    """Return that the challenger is a measure itself, and whom it is compared with then."""
    beaten = ", ".join(model.name for model in question.baselines)
    others = ", ".join(model.name for model in question.peers or ())
    rule = f"it must beat {beaten}" + (f", and must not be worse than {others}" if others else "")
    return (
        f"{question.challenger.name} is a baseline itself (register.baselines_may_win) and not compared with itself: "
        f"{rule}."
    )


def _thresholds(question: Question) -> Check | None:
    """Return at which threshold each model was judged; None where the most probable class is what they say."""
    models = (question.challenger, *question.opponents)
    points = {model.name: said_from(model.point) for model in models}
    told = "; ".join(f"{name} says {words}" for name, words in points.items() if words)
    if not told:
        return None
    return Check("decision thresholds", "told", "each model at its own, set by validation", told)


def _of_few_days(days: int) -> Check:
    expected = (
        f"rows of at least {SMALLEST_NUMBER_OF_GROUPS} days of equal size, so that whole days are drawn"
    )
    received = (
        f"{days} days: where rows of a day are alike, 9 to 17% of equal models pass; name the day as group, or test "
        "on more days"
    )
    return Check("rows of a day", "told", expected, received)


def unchanged(name: str, promoted_for: Sequence[str] = ()) -> Decision:
    """Return that a model is the champion itself: one digest is one model.

    Args:
        name: Of the model.
        promoted_for: The reasons by which it became champion, which are told again.
    """
    return Decision("unchanged", (f"{name} is the champion already: the same model file.", *promoted_for))


def refused_because(*reasons: str) -> Decision:
    """Return the refusal of what cannot be compared."""
    checks = tuple(Check("can be compared", "failed", "nothing in the way", reason) for reason in reasons)
    return Decision("refused", reasons, checks=checks)


# --- What `reports/register/decision.json` and the tags of a model version say about a decision.
#
# Content only, no ids and no times: two clones that decide the same write the same bytes.


def decision_key(
    model_sha256: str,
    test_digest: str,
    rules: Rules,
    baselines: Mapping[str, str],
    measured_by: Mapping[str, Any] | None = None,
) -> str:
    """Return a digest of what a decision is about; equal keys ask the same question.

    Args:
        model_sha256: Of the model in question.
        test_digest: Of all that judges, see `pipeline.evaluation.scoring.scored_digest`.
        rules: How strict the gate is.
        baselines: Name of each baseline to the sha256 of its model.
        measured_by: How answers become metrics: bins, positive class, rules of alarms, thresholds.
    """
    return content_key([model_sha256, test_digest, asdict(rules), baselines, dict(measured_by or {})])


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


# --- A promotion that waits until one can go back to what it rests on, or that is let pass.

HELD, PROMOTED = "held", "promoted"
AGAIN = "then run `dvc repro` again: it will be judged anew in seconds"


def held_unless_committed(
    decision: Mapping[str, Any],
    committed: Committed,
    uncommitted: str | None,
    *,
    reigns: bool,
    first: bool = False,
) -> dict[str, Any]:
    """Return the decision, turned from `promoted` into `held` where its origin is not committed.

    Args:
        decision: Content of decision.json as the gate made it.
        committed: Whether git holds what made the model.
        uncommitted: `register.uncommitted`: why it may be promoted all the same; it is recorded.
        reigns: Whether the model is champion already: it was let pass then, and nothing is left to hold.
        first: Whether nothing ever was champion: nothing good is replaced, so it need not wait, and the commit that
            follows completes its record (`pipeline.versions.seal.complete_origin`). The decision does not tell:
            a clone of that commit must write the same.
    """
    if decision["decision"] != PROMOTED or reigns or not committed.problems:
        return dict(decision)
    if uncommitted is not None:
        return {**decision, "uncommitted": uncommitted}
    if first:
        return dict(decision)
    reasons = [*decision["reasons"], *(f"Not promoted yet. {item}, {AGAIN}." for item in committed.problems)]
    return {**decision, "decision": HELD, "reasons": reasons}


def not_committed_yet(decision: Mapping[str, Any], committed: Committed) -> list[str]:
    """Return what to say of a champion whose origin is not committed, and what to do; nothing where there is none."""
    if decision["decision"] not in (PROMOTED, "unchanged"):
        return []
    return [
        f"Its origin is not committed yet. {problem}; `millrace lineage` then finds the commit."
        for problem in committed.problems
    ]


# --- The out of `register` that says whether its question is settled: `reports/register/settled`.
#
# DVC runs a stage again when an out is not what dvc.lock says. A model that is held back until its origin is
# committed must be judged anew by the next `dvc repro`, whatever changed meanwhile: a commit, or only a file
# put back by hand. No dependency could tell DVC so. While a model is held this out is therefore a symbolic
# link to dvc.lock, which DVC writes after it has hashed the out, with that hash inside: the two never agree,
# and `dvc status` says so. Otherwise it is a file of constant content, and a `dvc repro` with nothing new
# runs nothing. See docs/decisions/0016.


def write_settled(*, held: bool) -> None:
    """Write the out: what makes DVC come back, or what makes it content."""
    path = paths.REGISTER_SETTLED
    if not held:
        write_text(path, "settled\n")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.link")
    beside.unlink(missing_ok=True)
    beside.symlink_to(os.path.relpath(paths.DVC_LOCK, path.parent))
    beside.replace(path)
    fsync_dir(path.parent)

"""Champion or not: the recorded decision if it still holds, otherwise one from scores of this moment."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.artifacts import file_digest, read_json
from pipeline.contenders import Answers, NotComparable, load_test_rows, score, scored_digest
from pipeline.decisions import decision_content, decision_key, still_holds
from pipeline.gate import Contender, Decision, Rules, first_champion, next_champion
from pipeline.input_specs import output_spec
from pipeline.judged_rows import JudgedRows, load_rows
from pipeline.measures import Measures, OperatingPoint, Yardstick, measures_of
from pipeline.tracking.registry import (
    APPLIED,
    EXTRA_DIR,
    MODEL_FILE,
    Version,
    champion_version,
    fetch_model,
    recorded_decision,
)
from pipeline.tracking.revocation import in_words, revocation
from pipeline.tracking.store import Store


def decide(
    store: Store,
    model_name: str,
    version: Version,
    *,
    candidate: str,
    baselines: Sequence[str],
    rules: Rules,
    yardstick: Yardstick,
) -> dict[str, Any]:
    """Return the decision about a version, as the content of decision.json.

    Args:
        store: An opened store; the caller holds its lock.
        model_name: In the registry.
        version: The version in question; its model is the one in models/best.
        candidate: Name of the chosen candidate.
        baselines: Candidates that a first champion must beat.
        rules: How strict the gate is.
        yardstick: How answers are measured.

    Raises:
        StorageFailed: The files of the champion are gone or damaged, so nothing can be compared.
    """
    test = load_test_rows()
    champion = champion_version(store, model_name)
    champion_sha256 = champion.model_sha256 if champion else ""
    opponents = {name: file_digest(paths.tuned_dir(name) / "model.keras", "sha256") for name in baselines}
    card = read_json(paths.BEST_DIR / "card.json", "evaluate")
    points = {name: card.get(name) for name in ("operating_point", "baseline_operating_points")}
    judged_by = {"yardstick": asdict(yardstick), **points}
    key = decision_key(version.model_sha256, scored_digest(test), rules, opponents, judged_by)
    revoked = revocation(store, model_name, version.model_sha256)
    if revoked is not None:
        return decision_content(
            Decision("refused", (f"{in_words(revoked)} It never becomes champion again.",)),
            key=key,
            candidate=candidate,
            model_sha256=version.model_sha256,
            opponent_sha256=champion_sha256,
            num_rows=len(test.rows),
        )
    recorded = recorded_decision(version)
    applied = version.tags.get(APPLIED) == "true"
    if recorded and still_holds(recorded, key, version.model_sha256, champion_sha256, applied=applied):
        return recorded
    measures = measures_of(test, output_spec(read_json(paths.BEST_DIR / "state.json", "evaluate")), yardstick)
    answers = score(candidate, paths.BEST_DIR / "model.keras", paths.BEST_DIR, test)
    challenger = _contender(answers, measures, card.get("operating_point", {}), rules)
    decision: Decision
    if champion is None:
        measured = _baselines(card, baselines, test, measures, rules)
        decision = first_champion(measures.y_true, challenger, measured, rules, measures.blocks)
    else:
        try:
            opponent = _champion(store, champion, test, measures=measures, rules=rules, yardstick=yardstick)
        except NotComparable as error:
            decision = Decision("refused", (f"{error} Register it under another register.model_name.",))
        else:
            decision = next_champion(measures.y_true, challenger, opponent, rules, measures.blocks)
    return decision_content(
        decision,
        key=key,
        candidate=candidate,
        model_sha256=version.model_sha256,
        opponent_sha256=champion_sha256,
        num_rows=len(test.rows),
    )


def _baselines(
    card: Mapping[str, Any], names: Sequence[str], test: JudgedRows, measures: Measures, rules: Rules
) -> list[Contender]:
    points = card.get("baseline_operating_points", {})
    folders = {name: paths.tuned_dir(name) for name in names}
    answers = [score(name, folder / "model.keras", folder, test) for name, folder in folders.items()]
    return [_contender(item, measures, points.get(item.name, {}), rules) for item in answers]


def _contender(answers: Answers, measures: Measures, point: OperatingPoint, rules: Rules) -> Contender:
    """Return a model as the gate compares it: its answers as the primary metric takes them."""
    try:
        predictions = measures.judged(answers.predictions, point)
    except ValueError:
        predictions = answers.predictions  # the gate says what is wrong with them
    metric = measures.metrics(point)[rules.primary.name]
    return Contender(
        answers.name, answers.model_sha256, answers.classes, answers.sample_ids, predictions, metric
    )


def _champion(
    store: Store,
    champion: Version,
    test: JudgedRows,
    *,
    measures: Measures,
    rules: Rules,
    yardstick: Yardstick,
) -> Contender:
    """Return the champion as the gate compares it: thresholds anew from today's validation, like the challenger's.

    Those it came with were chosen on other rows, and perhaps under other rules of alarms or for the other class.
    """
    with tempfile.TemporaryDirectory(prefix="millrace-") as temporary:
        folder = fetch_model(store, champion, Path(temporary))
        # One name for every store, so that equal decisions have equal bytes.
        answers = score("champion", folder / MODEL_FILE, folder / EXTRA_DIR, test)
        point: OperatingPoint = read_json(folder / EXTRA_DIR / "card.json").get("operating_point", {})
        if point:
            val = load_rows("val")
            spec = output_spec(read_json(paths.BEST_DIR / "state.json", "evaluate"))
            on_val = score("champion", folder / MODEL_FILE, folder / EXTRA_DIR, val)
            point = measures_of(val, spec, yardstick).operating_point(on_val.predictions)
    return _contender(answers, measures, point, rules)

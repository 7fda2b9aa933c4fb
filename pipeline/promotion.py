"""Champion or not: the recorded decision if it still holds, otherwise one from scores of this moment."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.artifacts import file_digest
from pipeline.contenders import NotComparable, TestRows, load_test_rows, score, scored_digest
from pipeline.decisions import decision_content, decision_key, still_holds
from pipeline.gate import Contender, Decision, Rules, first_champion, next_champion
from pipeline.tracking.registry import (
    APPLIED,
    EXTRA_DIR,
    MODEL_FILE,
    Version,
    champion_version,
    fetch_model,
    recorded_decision,
)
from pipeline.tracking.store import Store


def decide(
    store: Store,
    model_name: str,
    version: Version,
    *,
    candidate: str,
    baselines: Sequence[str],
    rules: Rules,
) -> dict[str, Any]:
    """Return the decision about a version, as the content of decision.json.

    Args:
        store: An opened store; the caller holds its lock.
        model_name: In the registry.
        version: The version in question; its model is the one in models/best.
        candidate: Name of the chosen candidate.
        baselines: Candidates that a first champion must beat.
        rules: How strict the gate is.

    Raises:
        StorageFailed: The files of the champion are gone or damaged, so nothing can be compared.
    """
    test = load_test_rows()
    champion = champion_version(store, model_name)
    champion_sha256 = champion.model_sha256 if champion else ""
    measures = {name: file_digest(paths.tuned_dir(name) / "model.keras", "sha256") for name in baselines}
    key = decision_key(version.model_sha256, scored_digest(test), rules, measures)
    recorded = recorded_decision(version)
    applied = version.tags.get(APPLIED) == "true"
    if recorded and still_holds(recorded, key, version.model_sha256, champion_sha256, applied=applied):
        return recorded
    challenger = score(candidate, paths.BEST_DIR / "model.keras", paths.BEST_DIR, test)
    if champion is None:
        decision = _against_baselines(challenger, baselines, test, rules)
    else:
        decision = _against_champion(store, challenger, champion, test, rules)
    return decision_content(
        decision,
        key=key,
        candidate=candidate,
        model_sha256=version.model_sha256,
        opponent_sha256=champion_sha256,
        num_rows=len(test.rows),
    )


def _against_baselines(
    challenger: Contender, baselines: Sequence[str], test: TestRows, rules: Rules
) -> Decision:
    folders = {name: paths.tuned_dir(name) for name in baselines}
    opponents = [score(name, folder / "model.keras", folder, test) for name, folder in folders.items()]
    return first_champion(test.class_indices(challenger.classes), challenger, opponents, rules)


def _against_champion(
    store: Store, challenger: Contender, champion: Version, test: TestRows, rules: Rules
) -> Decision:
    with tempfile.TemporaryDirectory(prefix="millrace-") as temporary:
        folder = fetch_model(store, champion, Path(temporary))
        # One name for every store, so that equal decisions have equal bytes.
        try:
            opponent = score("champion", folder / MODEL_FILE, folder / EXTRA_DIR, test)
        except NotComparable as error:
            return Decision("refused", (f"{error} Register it under another register.model_name.",))
    return next_champion(test.class_indices(challenger.classes), challenger, opponent, rules)

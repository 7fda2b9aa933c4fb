"""Champion or not: the recorded decision if it still holds, otherwise one from scores of this moment."""

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.evaluation import scoring
from pipeline.evaluation.label_measures import LabelMeasures
from pipeline.evaluation.ledger import (
    judged_against,
    note_use,
    uses,
)
from pipeline.evaluation.measures import Measures, OperatingPoint, Yardstick, measures_of, threshold_of
from pipeline.evaluation.rows import EvaluationRows, days_of, load_rows
from pipeline.evaluation.scoring import Answers, NotComparable, holdout_of, load_test_rows, score
from pipeline.export.onnx_session import OnnxModel
from pipeline.gate.checks import UnknownSlice, slice_masks
from pipeline.gate.decision import (
    Decision,
    decision_content,
    decision_key,
    refused_because,
    still_holds,
    unchanged,
)
from pipeline.gate.decision import decide as ask_the_gate
from pipeline.gate.looks import look_of
from pipeline.gate.question import Look, Question, Rules, ScoredModel
from pipeline.gate.uses import share_uses
from pipeline.inputs.arrays import Inputs, take
from pipeline.inputs.specs import kinds_read, output_spec
from pipeline.metrics.intervals import few_groups, teaches_no_threshold
from pipeline.runtime import paths
from pipeline.runtime.files import content_key, file_digest, read_json
from pipeline.runtime.paths import MODEL_ONNX
from pipeline.tracking.champions import PROMOTED, REFRESHED, Champion, champions
from pipeline.tracking.registry import (
    APPLIED,
    EXTRA_DIR,
    MODEL_FILE,
    Version,
    applied_promotion,
    champion_version,
    fetch_model,
    mode_of,
    recorded_decision,
    version_numbered,
)
from pipeline.tracking.revocations import revocation, revocation_words
from pipeline.tracking.store import Store

# --- How long a model takes for a single prediction, measured here and now.

WARM_UP = 5
"""The first calls reserve memory and fill caches."""
REPETITIONS = 51
"""Odd, so that the median is one of them."""


def single_prediction_ms(model_path: Path, inputs: Inputs, rows: np.ndarray) -> float:
    """Return the median time in which the exported model, which is what gets deployed, answers one sample, in ms.

    Samples are taken in turn and before the clock starts: they may differ in length.

    Args:
        model_path: The `.onnx` file.
        inputs: All samples as the model takes them.
        rows: Of which samples, at least one.
    """
    # Keras would need 10 to 150 times as long, and serves nobody.
    model = OnnxModel(model_path)
    rounds = np.resize(rows, WARM_UP + REPETITIONS)
    seconds = [_timed(model, take(inputs, rounds[place : place + 1])) for place in range(len(rounds))]
    return float(np.median(seconds[WARM_UP:]) * 1000)


def _timed(model: Any, sample: Any) -> float:
    start = time.perf_counter()
    model.predict_on_batch(sample)
    return time.perf_counter() - start


# --- Champion or not.

LATENCY_MS = "millrace.latency_ms"
"""Tag of a version. Not part of the decision, which two machines must write alike."""


def decide_version(
    store: Store,
    model_name: str,
    version: Version,
    *,
    candidate: str,
    baselines: Sequence[str],
    peers: Sequence[str] | None = None,
    rules: Rules,
    yardstick: Yardstick,
) -> dict[str, Any]:
    """Return the decision about a version, as the content of decision.json.

    Args:
        store: An opened store; the caller holds its lock.
        model_name: In the registry.
        version: The version in question; its model is the one in models/best.
        candidate: Name of the chosen candidate.
        baselines: Candidates that it must beat.
        peers: Where it is a baseline itself, the other baselines, see `gate.question.Question`; else None.
        rules: How strict the gate is.
        yardstick: How answers are measured.

    Raises:
        StorageFailed: The files of the champion are gone or damaged, so nothing can be compared.
    """
    test = load_test_rows()
    champion = champion_version(store, model_name)
    champion_sha256 = champion.model_sha256 if champion else ""
    opponents = {
        name: file_digest(paths.selected_dir(name) / "model.keras", "sha256")
        for name in (*baselines, *(peers or ()))
    }
    card = read_json(paths.BEST_DIR / "card.json", "evaluate")
    points = {name: card.get(name) for name in ("operating_point", "baseline_operating_points")}
    # The metric that chooses is that of the rules, which are in the key themselves.
    bins = {name: value for name, value in asdict(yardstick).items() if name != "select_by"}
    measured_by = {"yardstick": bins, "slices": _slices_digest(rules, test), **points}
    if peers is not None:
        measured_by["peers"] = list(peers)
    if test.groups:
        measured_by["groups"] = content_key(test.groups)
    if days := days_of(test, read_json(paths.SPLIT_SUMMARY, "split")["method"]):
        measured_by["days"] = content_key(days.members)
    holdout = holdout_of(test)
    key = decision_key(version.model_sha256, holdout.digest, rules, opponents, measured_by)
    content = partial(
        decision_content,
        key=key,
        candidate=candidate,
        model_sha256=version.model_sha256,
        opponent_sha256=champion_sha256,
        rules=rules,
    )
    known = _known_already(
        store, model_name, version, champion_sha256=champion_sha256, key=key, candidate=candidate
    )
    if isinstance(known, Decision):
        return content(known, num_rows=0, rows_left_out=0)
    if known is not None:
        return known
    note_use(holdout, version.model_sha256, "register", against=champion_sha256)
    share_uses(store, model_name, version, holdout)  # before the look is counted: others may have looked too
    judged = [use.model_sha256 for use in uses(holdout)]
    chances = judged_against(holdout, champion_sha256)
    look = look_of(judged, chances, version.model_sha256, champion_sha256)
    superior, refreshes = _last_superior(store, model_name, champion)
    num_rows = 0
    with tempfile.TemporaryDirectory(prefix="millrace-") as temporary:
        champions_dir, superior_dir = (
            fetch_model(store, reigned, Path(temporary) / name) if reigned else None
            for name, reigned in (("champion", champion), ("superior", superior))
        )
        latency_ms = _latency_ms(test) if rules.max_latency_ms is not None else None
        contest = _Contest(
            candidate,
            tuple(baselines),
            None if peers is None else tuple(peers),
            card,
            rules,
            yardstick,
            champions_dir,
            superior_dir,
            refreshes,
            look,
            latency_ms,
        )
        try:
            # Those that no model was made with.
            details = [
                paths.BEST_DIR,
                *(folder / EXTRA_DIR for folder in (champions_dir, superior_dir) if folder),
            ]
            unseen = test.take(scoring.unseen_positions(test, details))
            num_rows = len(unseen)
            if num_rows < rules.rows:
                decision = refused_because(
                    f"{num_rows} of {len(test)} test rows are left that no model was trained on or chosen by; at "
                    f"least {rules.rows} are needed. Add new data, or split anew."
                )
            else:
                decision = ask_the_gate(_question(contest, unseen), rules)
        except NotComparable as error:
            advice = " Register it under another register.model_name." if champion else ""
            decision = refused_because(f"{error}{advice}")
        except ValueError as error:  # no such metric, class, slice or finite answer: it could not be checked
            decision = refused_because(str(error))
    if latency_ms is not None:
        store.client.set_model_version_tag(model_name, str(version.number), LATENCY_MS, f"{latency_ms:.2f}")
    return content(decision, num_rows=num_rows, rows_left_out=len(test) - num_rows)


SUPERIOR = "the last promoted as better"
"""Of the models that reigned; the name that decisions have for it."""


def _last_superior(store: Store, model_name: str, champion: Version | None) -> tuple[Version | None, int]:
    """Return the last model that became champion by being better, and how many were promoted as not worse since.

    One that a person made champion, and the first one, count as better: nobody stands behind them.

    Returns:
        None where it is the champion itself, or there is none.

    Raises:
        InputMissing: The version of a former champion was deleted, so nobody knows what the refreshes add up to.
    """
    listed = champions(store, model_name) if champion else []
    version, number, refreshes = champion, len(listed) + 1, 0
    while version is not None:
        entry = next(
            (
                item
                for item in reversed(listed[: number - 1])
                if item.version == version.number and item.reason in (PROMOTED, REFRESHED)
            ),
            None,
        )
        if entry is None or not entry.before or not _is_refresh(entry, version):
            break
        version, number = version_numbered(store, model_name, entry.before), entry.number
        refreshes += 1
    return (version if refreshes else None), refreshes


def _is_refresh(entry: Champion, version: Version) -> bool:
    # Lists of before there was a word for it have only the decision on the version.
    old = applied_promotion(version) if entry.reason == PROMOTED else None
    return entry.reason == REFRESHED or (old is not None and mode_of(old) == "non_inferiority")


def _known_already(
    store: Store, model_name: str, version: Version, *, champion_sha256: str, key: str, candidate: str
) -> Decision | dict[str, Any] | None:
    """Return what needs no test rows: a revoked model, the champion itself, or a recorded decision that holds."""
    revoked = revocation(store, model_name, version.model_sha256)
    if revoked is not None:
        return refused_because(f"{revocation_words(revoked)} It never becomes champion again.")
    recorded = recorded_decision(version)
    applied = version.tags.get(APPLIED) == "true"
    if recorded and still_holds(recorded, key, version.model_sha256, champion_sha256, applied=applied):
        return recorded
    if version.model_sha256 != champion_sha256:
        return None
    # By another machine perhaps, since the version was read.
    promoted = applied_promotion(version_numbered(store, model_name, version.number)) or {}
    return unchanged(candidate, promoted.get("reasons", ()))


@dataclass(frozen=True)
class _Contest:
    """What stays the same while the models of one decision are scored.

    Attributes:
        candidate: Name of the chosen candidate.
        baselines: Names of those to be beaten.
        peers: Names of the other baselines, where the candidate is one; else None.
        card: Of models/best.
        rules: How strict the gate is.
        yardstick: How answers are measured.
        champion: Folder of the champion's files; None if there is none.
        superior: Of the last model that was promoted as better; None where it is the champion.
        refreshes: How many were promoted since, see `Question`.
        look: Which use of the test set this is.
        latency_ms: Of the challenger, if it was measured.
    """

    candidate: str
    baselines: tuple[str, ...]
    peers: tuple[str, ...] | None
    card: Mapping[str, Any]
    rules: Rules
    yardstick: Yardstick
    champion: Path | None
    superior: Path | None
    refreshes: int
    look: Look
    latency_ms: float | None


def _question(contest: _Contest, test: EvaluationRows) -> Question:
    """Return what the gate is asked: every model scored on the same rows now.

    Raises:
        NotComparable: The champion takes other inputs than the data has now.
        ValueError: An answer, a class, a slice or the primary metric does not exist for these rows.
    """
    spec = output_spec(read_json(paths.BEST_DIR / "state.json", "evaluate"))
    measures = measures_of(test, spec, contest.yardstick)
    if contest.rules.primary.name not in measures.metrics({}):
        raise ValueError(
            f"The test rows that are left cannot be judged by {contest.rules.primary.words}. Expected rows it "
            f"exists for. Received: {len(test)} rows, metrics {sorted(measures.metrics({}))}."
        )
    challenger, champion, superior, baselines, peers = _models(contest, test, measures)
    days = days_of(test, read_json(paths.SPLIT_SUMMARY, "split")["method"])
    enough = days is not None and not few_groups(days)
    return Question(
        measures.y_true,
        challenger,
        champion,
        baselines,
        superior,
        contest.refreshes,
        contest.look,
        blocks=days if enough else measures.blocks,
        few_days=len(days) if days and not enough else 0,
        slices=slice_masks(contest.rules.slices, test),
        trials=measures.trials,
        size_bytes=(paths.BEST_DIR / "model.keras").stat().st_size,
        latency_ms=contest.latency_ms,
        peers=peers,
    )


def _models(
    contest: _Contest, test: EvaluationRows, measures: Measures
) -> tuple[
    ScoredModel,
    ScoredModel | None,
    ScoredModel | None,
    list[ScoredModel],
    list[ScoredModel] | None,
]:
    """Return challenger, champion, who was better last, baselines and peers with their answers of this moment."""
    card, rules = contest.card, contest.rules
    answers = score(contest.candidate, paths.BEST_DIR / "model.keras", paths.BEST_DIR, test)
    challenger = _scored_model(answers, measures, card.get("operating_point", {}), rules)
    # One name for every store, so that equal decisions have equal bytes.
    champion, superior = (
        _reigned(name, folder, test, measures, contest) if folder else None
        for name, folder in (("champion", contest.champion), (SUPERIOR, contest.superior))
    )
    points = card.get("baseline_operating_points", {})
    baselines, peers = (
        [
            _scored_model(
                score(name, paths.selected_dir(name) / "model.keras", paths.selected_dir(name), test),
                measures,
                points.get(name, {}),
                rules,
            )
            for name in names
        ]
        for names in (contest.baselines, contest.peers or ())
    )
    return challenger, champion, superior, baselines, None if contest.peers is None else peers


def _scored_model(answers: Answers, measures: Measures, point: OperatingPoint, rules: Rules) -> ScoredModel:
    """Return a model as the gate compares it: its answers as the primary metric takes them."""
    try:
        predictions = measures.scored(answers.predictions, point)
    except ValueError:
        predictions = answers.predictions  # the gate says what is wrong with them
    metrics = measures.metrics(point)
    thresholds = measures.thresholds(point) if isinstance(measures, LabelMeasures) else None
    return ScoredModel(
        answers.name,
        answers.model_sha256,
        answers.classes,
        answers.sample_ids,
        predictions,
        metrics[rules.primary.name],
        metrics,
        threshold_of(answers.classes, point),
        thresholds,
    )


def _reigned(
    name: str, folder: Path, test: EvaluationRows, measures: Measures, contest: _Contest
) -> ScoredModel:
    """Return a champion as the gate compares it: thresholds anew from today's validation, like the challenger's.

    Those it came with were chosen on other rows, and perhaps under other rules of alarms or for the other class. A
    model that was trained on the rows of validation is too sure of them: it is asked for those it has not seen and,
    where they are few, keeps the thresholds it came with. So it does where they are of a handful of groups, which teach
    none: the challenger's may be of many more, of train and val together.
    """
    details = folder / EXTRA_DIR
    answers = score(name, folder / MODEL_FILE, details, test)
    card = read_json(details / "card.json")
    point: OperatingPoint = card.get("operating_point", {})
    spec = output_spec(read_json(paths.BEST_DIR / "state.json", "evaluate"))
    if point and answers.classes == spec.classes:  # of other classes the gate says what is different
        val = load_rows("val")
        new = scoring.unseen_positions(val, [details]) if card.get("refit") else np.arange(len(val))
        if len(new) >= contest.rules.rows or not card.get("refit"):
            val = val.take(new)
            on_val = measures_of(val, spec, contest.yardstick)
            if not teaches_no_threshold(on_val.blocks):
                said = score(name, folder / MODEL_FILE, details, val)
                point = on_val.operating_point(said.predictions)
    return _scored_model(answers, measures, point, contest.rules)


def _latency_ms(test: EvaluationRows) -> float:
    state, settings = (
        read_json(paths.BEST_DIR / f"{name}.json", "evaluate") for name in ("state", "settings")
    )
    inputs = scoring.inputs_of("test", kinds_read(state, settings))
    return single_prediction_ms(paths.BEST_DIR / MODEL_ONNX, inputs, test.rows)


def _slices_digest(rules: Rules, test: EvaluationRows) -> str:
    """Return a digest of who is in which slice; columns that do not exist are the gate's business."""
    try:
        masks = slice_masks(rules.slices, test)
    except UnknownSlice as error:
        return str(error)
    return content_key({name: np.packbits(inside).tobytes().hex() for name, inside in masks.items()})

"""Open the test set once, for the chosen candidate and everybody beside it.

Reads: reports/select/selection.json, models/selected/<candidate>/ and models/folds/<candidate>/ of every candidate in
params.yaml, data/split/split.parquet, data/features/, data/interim/{payload.npy,samples.parquet}.
Writes: reports/evaluate/{metrics.json,tables/,pictures/} and models/best/: model.keras, settings.json,
state.json, card.json, golden.npz (16 test inputs with what the model answers), model.onnx (the same model, with which
onnxruntime gave these answers in a process of its own), trained_on.parquet (the rows that it was fitted on or chosen
by), reference.json (how its answers on test and its train rows are distributed), predictions of the chosen model and of
the baselines on test. A line in
.millrace/test_ledger.jsonl, which is no output: it says who was judged on the test set so far.
Parameters: candidates, data, evaluate, leaks, seed, split, threads.
"""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import msgspec

from pipeline.evaluation import results
from pipeline.evaluation.label_measures import LabelMeasures
from pipeline.evaluation.ledger import note_use
from pipeline.evaluation.measures import Measures, Predictions, Yardstick, measures_of, threshold_of
from pipeline.evaluation.reach import reach_of
from pipeline.evaluation.results import (
    Bootstrap,
    Candidate,
    Evaluation,
    class_metrics_with_intervals,
    label_metrics_with_intervals,
    metrics_with_intervals,
    read_candidate,
)
from pipeline.evaluation.rows import EvaluationRows, days_of, load_rows
from pipeline.gate.opponents import first_not_beaten
from pipeline.gate.question import Rules, ScoredModel
from pipeline.inference import backend
from pipeline.inference.prediction import IMAGE_AXES
from pipeline.inputs.specs import OutputSpec
from pipeline.inputs.train_data import load_train_data
from pipeline.leaks.findings import SignOff, WindowColumns
from pipeline.leaks.fitted import refuse_unless_fitted_on_train
from pipeline.metrics.intervals import few_groups
from pipeline.metrics.names import Primary, format_value, metric_words, primary_called
from pipeline.monitoring.made import reference_of
from pipeline.params.families import BASELINE_FAMILIES, FAMILIES
from pipeline.params.load import load_params
from pipeline.params.values import window_columns
from pipeline.runtime import paths
from pipeline.runtime.errors import DataRefused
from pipeline.runtime.files import file_digest, finite, read_json, write_json
from pipeline.runtime.stage import running_stage
from pipeline.selection.evidence import read_evidence


def main() -> None:
    """Run the stage from the command line."""
    with running_stage("evaluate") as stage:
        params = load_params()
        backend.prepare_tensorflow(params.threads, params.seed)
        settings, columns = params.evaluate, window_columns(params)
        # Before the test set is opened: nothing that models read may have seen it.
        in_vain = refuse_unless_fitted_on_train(
            method=params.split.method,
            task=params.data.task,
            windows=WindowColumns(**columns) if columns else None,
            accepted={entry.finding: SignOff(entry.reason, entry.up_to) for entry in params.leaks.accepted},
        )
        for name in in_vain:
            stage.console.print(
                f"Warning: leaks.accepted names {name!r}, which was not found and has no effect. Remove it."
            )
        evaluation = evaluate(
            {name: msgspec.to_builtins(block)["family"] for name, block in params.candidates.items()},
            select_by=settings.select_by,
            bootstrap=Bootstrap(settings.bootstrap_resamples, settings.confidence, params.seed),
            yardstick=Yardstick.of(
                settings.calibration_bins, params.data.positive_class, settings.anomaly, settings.select_by
            ),
            season=settings.season,
            split_method=params.split.method,
        )
        words, score = evaluation.primary.words, evaluation.test[evaluation.choice.chosen][settings.select_by]
        if few := few_groups(evaluation.measures.blocks):
            stage.console.print(f"Warning: {few}", highlight=False)
        days = days_of(evaluation.rows, params.split.method)
        if days is not None and few_groups(days):
            stage.console.print(
                f"Warning: test has rows of {len(days)} days only, so intervals draw rows and not days; where rows of "
                "a day are alike they are too narrow. Test on more days.",
                highlight=False,
            )
        for name, found in evaluation.test[evaluation.choice.chosen].items():
            if found.doubt:
                stage.console.print(
                    f"Warning: nobody can say how sure {metric_words(name)} is: {found.doubt}.",
                    highlight=False,
                )
        stage.console.print(evaluation.choice.reason, highlight=False)
        if evaluation.reach:
            reached = evaluation.reach.coverage
            covered = [f"{share:.1%}" for share in (reached.value, reached.low, reached.high)]
            stage.console.print(
                f"intervals at {evaluation.reach.confidence:.0%}: {covered[0]} of the test values inside "
                f"({covered[1]} to {covered[2]})",
                highlight=False,
            )
        stage.console.print(
            f"test {words} {format_value(score.value)} ({format_value(score.low)} to {format_value(score.high)})",
            highlight=False,
        )


def evaluate(
    families: Mapping[str, str],
    *,
    select_by: str,
    bootstrap: Bootstrap,
    yardstick: Yardstick,
    season: int | None = None,
    split_method: str = "",
) -> Evaluation:
    """Judge all candidates on test, and write the reports and `models/best` of the one that `select` chose.

    Or of the baseline that stands for it, see `_borne_out`.

    Args:
        families: Candidate to family; whatever else lies in models/selected is of the past.
        select_by: Name of the primary metric: it chose, on test it decides.
        bootstrap: How intervals are made.
        yardstick: How answers are measured.
        season: Steps of the seasonal naive forecast that errors are compared with; None for none.
        split_method: As in params.yaml; by time, whole days are drawn for intervals where there are enough.

    Raises:
        DataRefused: There are no test rows, or no such metric for them.
        ValueError: A prediction or a metric is not a finite number.
    """
    # Here, because they import Keras, which must wait for `backend.prepare_tensorflow`.
    from pipeline.evaluation.codes import compare_codes
    from pipeline.evaluation.pictures import draw_pictures
    from pipeline.evaluation.tables import alarms, card, summary, write_best, write_tables

    for folder in (paths.EVALUATE_TABLES_DIR, paths.EVALUATE_PICTURES_DIR, paths.BEST_DIR):
        shutil.rmtree(folder, ignore_errors=True)
    data = load_train_data("cnn")
    spec, primary = data.output_spec, primary_called(select_by)
    selection = read_json(paths.SELECTION_JSON, "select")
    choice = results.choice_from(selection)
    members = selection.get("members", ())
    evidence = read_evidence(families, season, members)
    if members:
        families = {**families, paths.ENSEMBLE: paths.ENSEMBLE}
    on_evidence = measures_of(evidence.rows, spec, yardstick)
    candidates = {
        name: read_candidate(
            name,
            family,
            paths.selected_dir(name),
            on_evidence,
            evidence.answers(name, paths.SELECTED_DIR),
            before_temperature=evidence.probabilities(name, paths.SELECTED_DIR),
            blind=family in FAMILIES and FAMILIES[family].blind,
        )
        for name, family in families.items()
    }
    baselines = tuple(name for name, family in families.items() if family in BASELINE_FAMILIES)
    test = load_rows("test", season)
    on_test = _measures_on_test(test, spec, yardstick, select_by)
    days = days_of(test, split_method)
    if days is not None and not few_groups(days):
        on_test = replace(cast("Any", on_test), blocks=days)
    _note_use(candidates[choice.chosen], test)
    predictions = _predictions(candidates, test)
    points = {name: item.point for name, item in candidates.items()}
    rules = Rules(primary, selection["margin"], bootstrap.confidence, bootstrap.resamples, bootstrap.seed)
    choice = _borne_out(choice, candidates, predictions, on_test, rules)
    decided = {
        "chosen": choice.chosen,
        "operating_point": dict(points[choice.chosen]),
        "primary": primary.as_json(),
        "reason": choice.reason,
    }
    write_json(paths.EVALUATE_TABLES_DIR / "selection.json", selection | decided)
    classes = spec.task == "classification"
    per_class = {}
    if classes:
        per_class = class_metrics_with_intervals(
            on_test.y_true,
            predictions[choice.chosen],
            bootstrap,
            on_test.blocks,
            threshold_of(spec.classes, points[choice.chosen]),
        )
    elif isinstance(on_test, LabelMeasures):
        chosen = choice.chosen
        per_class = label_metrics_with_intervals(on_test, predictions[chosen], points[chosen], bootstrap)
    reach = None
    if spec.targets:
        before = on_evidence.y_true, evidence.answers(choice.chosen, paths.SELECTED_DIR)
        reach = reach_of(before, on_test.y_true, predictions[choice.chosen], **bootstrap.over(on_test.blocks))
    evaluation = Evaluation(
        choice=choice,
        primary=primary,
        candidates=candidates,
        baselines=baselines,
        spec=spec,
        rows=test,
        measures=on_test,
        predictions=predictions,
        test=metrics_with_intervals(on_test, predictions, points, bootstrap),
        per_class=per_class,
        reach=reach,
    )
    autoencoder = _best_autoencoder(choice, candidates)
    codes = None
    if autoencoder is not None and classes and getattr(data.inputs, "ndim", 0) == IMAGE_AXES:
        path = autoencoder.folder / "autoencoder.keras"
        codes = compare_codes(
            path,
            data,
            test_rows=test.rows,
            y_test=on_test.y_true,
            bootstrap=bootstrap,
            blocks=on_test.blocks,
        )

    content = summary(evaluation, codes)
    finite(content, "reports/evaluate/metrics.json")
    write_tables(paths.EVALUATE_TABLES_DIR, evaluation, codes)
    draw_pictures(paths.EVALUATE_PICTURES_DIR, evaluation, codes)
    papers = card(evaluation, bootstrap.confidence) | alarms(evaluation)
    write_json(paths.BEST_DIR / paths.REFERENCE, reference_of(evaluation, yardstick, bootstrap))
    write_best(paths.BEST_DIR, evaluation, test, papers)
    write_json(paths.EVALUATE_METRICS, content)
    return evaluation


def _measures_on_test(test: EvaluationRows, spec: OutputSpec, yardstick: Yardstick, primary: str) -> Measures:
    """Return what answers for the test rows are measured by, once they can be judged at all."""
    if not len(test.rows):
        raise DataRefused("There are no test rows to judge by. Expected some. Raise split.test_share.")
    measures = measures_of(test, spec, yardstick)
    existing = measures.metrics({})
    if primary not in existing:
        raise DataRefused(
            f"The test rows cannot be judged by evaluate.select_by={primary}. Expected rows it exists for: of "
            f"anomalies labelled ones, of values some that differ. Received: {len(test)} test rows, metrics "
            f"{sorted(existing)}. Label some, or let the test part begin elsewhere."
        )
    return measures


def _note_use(chosen: Candidate, test: EvaluationRows) -> None:
    """Write down that the test set is opened for this model, before it is."""
    from pipeline.evaluation.scoring import holdout_of

    note_use(holdout_of(test), file_digest(chosen.folder / "model.keras", "sha256"), "evaluate")


def _predictions(candidates: Mapping[str, Candidate], test: EvaluationRows) -> dict[str, Predictions]:
    from pipeline.evaluation.scoring import score

    return {
        name: score(name, item.folder / "model.keras", item.folder, test).predictions
        for name, item in candidates.items()
    }


def _borne_out(
    choice: results.Choice,
    candidates: Mapping[str, Candidate],
    predictions: Mapping[str, Predictions],
    on_test: Measures,
    rules: Rules,
) -> results.Choice:
    """Return the choice, or the baseline that stands for it where the test rows do not show that it is better.

    Of the baselines that learn and may win: the first, as validation ranked them, that is not beaten. The gate would
    refuse the model that was chosen, and who has no champion yet would get none.
    """
    may_win = [entry.name for entry in choice.ranking if candidates[entry.name].family in BASELINE_FAMILIES]
    if choice.chosen in may_win:
        return choice
    able = [name for name in may_win if not FAMILIES[candidates[name].family].blind]
    chosen, *baselines = (
        _scored_model(candidates[name], predictions[name], on_test, rules.primary)
        for name in (choice.chosen, *able)
    )
    found = first_not_beaten(on_test.y_true, chosen, baselines, rules, on_test.blocks)
    if found is None:
        return choice
    said = f"But on test {found.sentence} So {found.opponent} stands for it (register.baselines_may_win)."
    return replace(choice, chosen=found.opponent, reason=f"{choice.reason} {said}")


def _scored_model(
    candidate: Candidate, answers: Predictions, on_test: Measures, primary: Primary
) -> ScoredModel:
    metric = on_test.metrics(candidate.point)[primary.name]
    scored = on_test.scored(answers, candidate.point)
    return ScoredModel(candidate.name, "", (), (), scored, metric)


def _best_autoencoder(choice: results.Choice, candidates: Mapping[str, Candidate]) -> Candidate | None:
    ranked = [candidates[entry.name] for entry in choice.ranking]
    return next((item for item in ranked if item.family == "autoencoder"), None)


if __name__ == "__main__":
    main()

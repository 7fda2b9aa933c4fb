"""Choose a candidate by answers for rows it was not trained on; the test set stays closed.

Reads: models/tuned/<candidate>/ and models/folds/<candidate>/ of every candidate in params.yaml,
data/split/split.parquet (rows of train and val only), data/features, data/interim, data/validate/duplicates.parquet.
Writes: models/choice.json (who), reports/select/selection.json (why, and how sure that is).
Parameters: candidates, data, evaluate, seed, select.
"""

from collections.abc import Mapping

import msgspec

from pipeline.evaluation.measures import Measures, Predictions, Yardstick, measures_of
from pipeline.evaluation.results import Bootstrap
from pipeline.inputs.specs import output_spec
from pipeline.metrics.anomalies import AlarmRules
from pipeline.metrics.names import primary_called
from pipeline.params.families import BASELINE_FAMILIES
from pipeline.params.load import load_params
from pipeline.runtime import paths
from pipeline.runtime.files import read_json, write_json
from pipeline.runtime.stage import running_stage
from pipeline.selection.choice import Selection, select_candidate, sentence
from pipeline.selection.evidence import Evidence, read_evidence


def main() -> None:
    """Run the stage from the command line."""
    with running_stage("select") as stage:
        params = load_params()
        settings = params.evaluate
        evidence, selection = select(
            {name: msgspec.to_builtins(block)["family"] for name, block in params.candidates.items()},
            select_by=settings.select_by,
            bootstrap=Bootstrap(settings.bootstrap_resamples, settings.confidence, params.seed),
            yardstick=Yardstick(
                settings.calibration_bins,
                params.data.positive_class,
                AlarmRules(**msgspec.to_builtins(settings.anomaly)) if settings.anomaly else None,
            ),
            season=settings.season,
            refit=params.select.refit,
        )
        for warning in selection.warnings:
            stage.console.print(f"Warning: {warning}", highlight=False, markup=False)
        stage.console.print(selection.choice.reason, highlight=False, markup=False)
        stage.console.print(sentence(evidence, selection), highlight=False, markup=False)


def select(
    families: Mapping[str, str],
    *,
    select_by: str,
    bootstrap: Bootstrap,
    yardstick: Yardstick,
    season: int | None = None,
    refit: bool,
) -> tuple[Evidence, Selection]:
    """Choose a candidate and write down who and why.

    Args:
        families: Candidate to family; whatever else lies in models/tuned is of the past.
        select_by: Name of the metric that chooses.
        bootstrap: How intervals are made.
        yardstick: How answers are measured.
        season: Steps of the seasonal naive forecast that errors are compared with; None for none.
        refit: Whether the chosen candidate and the baselines are trained again with the rows of validation.

    Raises:
        DataRefused: No candidate but baselines, or no such metric for this data.
        FileNotFoundError: A file is missing; says which stage makes it.
        ValueError: Answers are not finite, or do not belong to these rows.
    """
    evidence = read_evidence(families, season)
    measures = measures_of(evidence.rows, output_spec(read_json(paths.FEATURES_STATE, "features")), yardstick)
    baselines = [name for name, family in families.items() if family in BASELINE_FAMILIES]
    able = [name for name in families if name not in baselines]
    selection = select_candidate(
        evidence,
        measures,
        {name: _answers(evidence, measures, name) for name in able},
        {
            name: read_json(paths.tuned_dir(name) / "metrics.json", f"tune@{name}")["parameters"]
            for name in able
        },
        select_by=select_by,
        bootstrap=bootstrap,
        may_win_ties=able,
    )
    content = selection.as_json(evidence) | {
        "primary": primary_called(select_by).as_json(),
        "sentence": sentence(evidence, selection),
    }
    write_json(paths.SELECTION_JSON, content)
    chosen = selection.choice.chosen
    again = sorted({chosen, *baselines}) if refit else []
    write_json(paths.CHOICE_JSON, {"chosen": chosen, "refit": again})
    return evidence, selection


def _answers(evidence: Evidence, measures: Measures, name: str) -> Predictions:
    given = evidence.answers(name)
    try:
        measures.scored(given, measures.operating_point(given))
    except ValueError as error:
        path = evidence.path(name, paths.TUNED_DIR)
        raise ValueError(f"{path}: {error} Run `dvc repro --force tune@{name}`.") from error
    return given


if __name__ == "__main__":
    main()

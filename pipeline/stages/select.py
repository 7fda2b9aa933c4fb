"""Choose a candidate by answers for rows it was not trained on; the test set stays closed.

Reads: models/tuned/<candidate>/ and models/folds/<candidate>/ of every candidate in params.yaml,
data/split/split.parquet (rows of train and val only), data/features, data/interim, data/validate/duplicates.parquet.
Writes: models/choice.json (who, and the temperatures of probabilities), reports/select/selection.json (why, and how
sure that is).
Parameters: candidates, data, evaluate, register, seed, select.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec
import numpy as np

from pipeline.evaluation.label_measures import LabelMeasures
from pipeline.evaluation.measures import (
    AnomalyMeasures,
    ClassMeasures,
    Measures,
    Predictions,
    Yardstick,
    measures_of,
)
from pipeline.evaluation.results import Bootstrap
from pipeline.inputs.specs import output_spec
from pipeline.metrics.calibration import helpful_temperature, tempered
from pipeline.metrics.intervals import rounded
from pipeline.metrics.names import primary_called
from pipeline.params.families import BASELINE_FAMILIES, FAMILIES
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
            yardstick=Yardstick.of(
                settings.calibration_bins, params.data.positive_class, settings.anomaly, settings.select_by
            ),
            season=settings.season,
            refit=params.select.refit,
            temperature=params.select.temperature,
            baselines_may_win=params.register.baselines_may_win is not False,
            margin=params.register.margin,
            ensemble=params.select.ensemble or (),
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
    temperature: bool,
    baselines_may_win: bool = False,
    margin: float = 0.0,
    ensemble: Sequence[str] = (),
) -> tuple[Evidence, Selection]:
    """Choose a candidate and write down who and why.

    Args:
        families: Candidate to family; whatever else lies in models/tuned is of the past.
        select_by: Name of the metric that chooses.
        bootstrap: How intervals are made.
        yardstick: How answers are measured.
        season: Steps of the seasonal naive forecast that errors are compared with; None for none.
        refit: Whether the chosen candidate and the baselines are trained again with the rows of validation; detectors
            of anomalies never are.
        temperature: Whether probabilities may be made less or more sure; candidates are compared as they would answer
            then.
        baselines_may_win: Whether a baseline may be chosen.
        margin: `register.margin`, which `evaluate` asks for again where a baseline may win.
        ensemble: Candidates whose answers are averaged, as one candidate more; () for none.

    Raises:
        DataRefused: No candidate but baselines that may not win, or no such metric for this data.
        FileNotFoundError: A file is missing; says which stage makes it.
        ValueError: Answers are not finite, or do not belong to these rows.
    """
    evidence = read_evidence(families, season, ensemble)
    measures = measures_of(evidence.rows, output_spec(read_json(paths.FEATURES_STATE, "features")), yardstick)
    baselines = [name for name, family in families.items() if family in BASELINE_FAMILIES]
    able = [name for name in families if baselines_may_win or name not in baselines]
    if ensemble:
        able.append(paths.ENSEMBLE)
    names = sorted({*able, *baselines}) if temperature else able
    answers = {name: _answers(evidence, measures, name) for name in names}
    temperatures = _temperatures(evidence, measures, families, names) if temperature else {}
    several = isinstance(measures, LabelMeasures)
    for name, value in temperatures.items():
        made = tempered(evidence.probabilities(name), value, several=several)
        answers[name] = made.astype(np.float32)
    selection = select_candidate(
        evidence,
        measures,
        {name: answers[name] for name in able},
        {name: sum(map(_parameters, evidence.members_of(name) or (name,))) for name in able},
        select_by=select_by,
        bootstrap=bootstrap,
        blind=[name for name, family in families.items() if FAMILIES[family].blind],
    )
    if selection.choice.chosen in baselines:
        said = "It is a baseline: no other candidate is shown to do better."
        choice_of = replace(selection.choice, reason=f"{selection.choice.reason} {said}")
        selection = replace(selection, choice=choice_of)
    elif members := evidence.members_of(selection.choice.chosen):
        said = f"It is the mean of {', '.join(members[:-1])} and {members[-1]}."
        choice_of = replace(selection.choice, reason=f"{selection.choice.reason} {said}")
        selection = replace(selection, choice=choice_of)
    content = selection.as_json(evidence) | {
        "margin": margin,
        "primary": primary_called(select_by).as_json(),
        "sentence": sentence(evidence, selection),
    }
    for entry in content["ranking"]:
        if entry["candidate"] in temperatures:
            entry["temperature"] = rounded(temperatures[entry["candidate"]])
    # Absent where nobody asked for an ensemble: then both files say what they said before there were any.
    joined = {"members": list(ensemble)} if ensemble else {}
    write_json(paths.SELECTION_JSON, content | joined)
    again = sorted({*(evidence.members_of(selection.choice.chosen) or [selection.choice.chosen]), *baselines})
    # Alarm thresholds are in units of one model's errors on rows that it has not seen; a refit would leave none.
    choice = {
        "chosen": selection.choice.chosen,
        "refit": again if refit and not isinstance(measures, AnomalyMeasures) else [],
        "temperatures": temperatures,
    }
    write_json(paths.CHOICE_JSON, choice | joined)
    return evidence, selection


def _temperatures(
    evidence: Evidence, measures: Measures, families: Mapping[str, str], names: Sequence[str]
) -> dict[str, float]:
    """Return the temperature of each candidate whose answers for other rows gain by one."""
    if isinstance(measures, ClassMeasures):
        truth = measures.y_true[:, None] == np.arange(len(measures.classes))
    elif isinstance(measures, LabelMeasures):
        truth = measures.y_true.astype(bool)
    else:
        return {}
    units = evidence.rows.groups or np.arange(len(truth))
    several = isinstance(measures, LabelMeasures)
    found = {}
    for name in names:
        answers = evidence.probabilities(name)
        logits = all(FAMILIES[families[one]].logits for one in evidence.members_of(name) or (name,))
        # Who says the same of every row has nothing to be less sure of.
        if logits and np.ptp(answers, axis=-2).any():
            found[name] = helpful_temperature(truth, answers, units, several=several)
    return {name: temperature for name, temperature in found.items() if temperature is not None}


def _parameters(candidate: str) -> int:
    """Return how many weights its model has."""
    metrics = read_json(paths.tuned_dir(candidate) / "metrics.json", f"tune@{candidate}")
    return int(metrics["parameters"])


def _answers(evidence: Evidence, measures: Measures, name: str) -> Predictions:
    for member in evidence.members_of(name):
        _answers(evidence, measures, member)  # a mean would not say whose answers are wrong
    given = evidence.answers(name)
    try:
        measures.scored(given, measures.operating_point(given))
    except ValueError as error:
        path = evidence.path(name, paths.TUNED_DIR)
        raise ValueError(f"{path}: {error} Run `dvc repro --force tune@{name}`.") from error
    return given


if __name__ == "__main__":
    main()

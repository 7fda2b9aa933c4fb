"""How often does the product's choice pick the candidate that is best on other rows, where labelled rows are few?

Half of each set's train rows, drawn anew each time class by class, are all that is labelled; the other half is what is
judged on (its own test file is never opened). Chosen are cheap candidates of scikit-learn, with the code of the
product: by a sixth of the rows as validation (what was done before), by five folds, by accuracy or by log loss at the
temperature that the folds teach, with the mean of all answers as one candidate more, with that mean wherever it is
within one standard error of the best, and always. A choice is right if no single candidate, fitted on all labelled
rows, does better on the other half; what a wrong one costs is told in accuracy and in log loss, a negative cost is a
gain.

Run: .venv/bin/python benchmarks/small_choice.py [--data ../shared/data] [--resamples 200] [--sets ECG200 GunPoint ...]
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
from sklearn.base import clone
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pipeline.evaluation.measures import ClassMeasures
from pipeline.evaluation.results import Bootstrap
from pipeline.evaluation.rows import EvaluationRows
from pipeline.metrics.calibration import SMALLEST_PROBABILITY, fitted_temperature, tempered
from pipeline.metrics.intervals import groups_of
from pipeline.runtime.paths import ENSEMBLE
from pipeline.selection.choice import select_candidate
from pipeline.selection.evidence import Evidence
from pipeline.selection.folds import stratified_folds

SETS = ("ItalyPowerDemand", "GunPoint", "ECG200", "DodgerLoopDay", "SwedishLeaf", "MelbournePedestrian")
CANDIDATES = {
    "nearest": KNeighborsClassifier(1),
    "neighbours": KNeighborsClassifier(5),
    "bayes": GaussianNB(),
    "discriminant": LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
    "logistic": make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=300)),
    "ridged": make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300)),
}
MEAN = ENSEMBLE
"""The mean of all candidates' answers, as a candidate."""
RULES = (
    "validation",
    "folds",
    "folds, log loss",
    "... with the mean",
    "... the mean if tied",
    "folds, mean if tied",
    "the mean",
)
MOST_UNITS = 99
"""As which the rows count, so that the rule for few is asked of larger sets too."""
BOOTSTRAP = Bootstrap(200, 0.95, 0)


def read_set(data, name):
    """Return series (num_rows, steps) and class numbers of the train file; missing values are 0."""
    table = data / "ucr-a" / name / f"{name}_TRAIN.tsv"
    if table.is_file():
        rows = np.loadtxt(table)
        return np.nan_to_num(rows[:, 1:]), np.unique(rows[:, 0], return_inverse=True)[1]
    text = table.with_suffix(".ts").read_text().partition("@data")[2]
    parts = [line.rpartition(":") for line in text.split()]
    series = np.array(
        [[float(value) for value in values.replace("?", "nan").split(",")] for values, _, _ in parts]
    )
    return np.nan_to_num(series), np.unique([label for *_, label in parts], return_inverse=True)[1]


def parameters(name, num_rows, num_steps, num_classes):
    """Return how many numbers a candidate keeps."""
    if name in ("nearest", "neighbours"):
        return num_rows * num_steps
    return (2 if name == "bayes" else 1) * num_classes * (num_steps + 1)


def answers(model, series, labels, *, train, asked):
    """Return probabilities of all classes for some rows, from a model of others."""
    num_classes = labels.max() + 1
    fitted = clone(model).fit(series[train], labels[train])
    given = np.zeros((len(asked), num_classes))
    given[:, fitted.classes_] = fitted.predict_proba(series[asked])
    return given


def chosen(rows, given, labels, sizes, select_by="accuracy", *, of_few=False):
    """Return whom the product chooses by these answers; where asked as of few rows that folds held out."""
    names = tuple(str(number) for number in range(labels.max() + 1))
    units = [str(row) for row in rows]
    drawn = groups_of(units) if len(set(units)) < len(units) else None
    measures = ClassMeasures(labels[rows], names, None, 10, drawn)
    evidence = Evidence(
        EvaluationRows(tuple(units), rows),
        of_few,
        len(rows),
        min(len(set(units)), MOST_UNITS),
        tuple(CANDIDATES),
    )
    return select_candidate(
        evidence, measures, given, sizes, select_by=select_by, bootstrap=BOOTSTRAP
    ).choice.chosen


def one_resample(series, labels, seed, repeats):
    """Return per rule whether the best candidate was chosen, and the accuracy that was lost."""
    num_classes = labels.max() + 1
    kind = labels[:, None] == np.arange(num_classes)
    every = [str(row) for row in range(len(labels))]
    half = stratified_folds(every, kind, folds=2, repeats=1, seed=seed)[0]
    own, rest = half.train, half.held
    units = [str(row) for row in own]
    sizes = {name: parameters(name, len(own), series.shape[1], num_classes) for name in CANDIDATES}

    def by(folds):
        held = np.concatenate([own[fold.held] for fold in folds])
        given = {
            name: np.concatenate(
                [
                    answers(model, series, labels, train=own[fold.train], asked=own[fold.held])
                    for fold in folds
                ]
            )
            for name, model in CANDIDATES.items()
        }
        return held, given

    validation = by(stratified_folds(units, kind[own], folds=6, repeats=1, seed=seed)[:1])
    folded = by(stratified_folds(units, kind[own], folds=5, repeats=repeats, seed=seed))
    held, given = folded
    stacks = {name: said[None] for name, said in given.items()} | {MEAN: np.stack(list(given.values()))}
    cool = {name: fitted_temperature(kind[held], members, several=False) for name, members in stacks.items()}
    with_mean = held, {name: tempered(said, cool[name], several=False) for name, said in stacks.items()}
    raw_with_mean = held, {**given, MEAN: np.mean(list(given.values()), axis=0)}
    calibrated = held, {name: said for name, said in with_mean[1].items() if name != MEAN}
    more = sizes | {MEAN: sum(sizes.values())}
    names = (
        chosen(*validation, labels, sizes),
        chosen(*folded, labels, sizes),
        chosen(*calibrated, labels, sizes, "log_loss"),
        chosen(*with_mean, labels, more, "log_loss"),
        chosen(*with_mean, labels, more, "log_loss", of_few=True),
        chosen(*raw_with_mean, labels, more, of_few=True),
        MEAN,
    )
    fitted = [answers(model, series, labels, train=own, asked=rest) for model in CANDIDATES.values()]
    on_rest = {
        name: tempered(np.stack(members), cool[name], several=False)
        for name, members in {
            **dict(zip(CANDIDATES, [[one] for one in fitted], strict=True)),
            MEAN: fitted,
        }.items()
    }
    right = {name: float((said.argmax(axis=1) == labels[rest]).mean()) for name, said in on_rest.items()}
    truth = np.arange(len(rest)), labels[rest]
    loss = {
        name: float(-np.log(np.maximum(said[truth], SMALLEST_PROBABILITY)).mean())
        for name, said in on_rest.items()
    }
    best, least = max(right[name] for name in CANDIDATES), min(loss[name] for name in CANDIDATES)
    return {
        rule: (right[name] >= best, best - right[name], loss[name] - least)
        for rule, name in zip(RULES, names, strict=True)
    }


def main():
    """Print a line per set and rule."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--resamples", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=1, help="how often five folds are cut")
    parser.add_argument("--sets", nargs="+", default=SETS)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    print(
        f"{'set':<20} {'labelled':>8}  {'rule':<22} {'best chosen':>11}  accuracy and log loss lost (standard errors)"
    )
    for name in arguments.sets:
        series, labels = read_set(arguments.data, name)
        counts = np.bincount(labels)
        kept = np.isin(labels, np.flatnonzero(counts >= 6))
        series, labels = series[kept], np.unique(labels[kept], return_inverse=True)[1]
        found = [one_resample(series, labels, seed, arguments.repeats) for seed in range(arguments.resamples)]
        for rule in RULES:
            values = np.array([resample[rule] for resample in found], float)
            (right, lost, loss), (_, error, of_loss) = (
                values.mean(axis=0),
                values.std(axis=0) / np.sqrt(len(values)),
            )
            print(
                f"{name:<20} {len(labels) // 2:>8}  {rule:<22} {right:>11.0%}  {lost:+.4f} ({error:.4f})  "
                f"{loss:+.4f} ({of_loss:.4f})",
                flush=True,
            )


if __name__ == "__main__":
    main()

"""How often does the product's choice pick the candidate that is best on other rows, where labelled rows are few?

Half of each set's train rows, drawn anew each time class by class, are all that is labelled; the other half is what is
judged on (its own test file is never opened). Chosen are cheap candidates of scikit-learn by two rules, with the code
of the product: a sixth of the rows as validation (what was done before), and five folds. A choice is right if no
candidate, fitted on all labelled rows, does better on the other half; what a wrong one costs is told in accuracy.

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
from pipeline.metrics.intervals import groups_of
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
RULES = ("validation", "folds")
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


def chosen(rows, given, labels, sizes):
    """Return whom the product chooses by these answers."""
    names = tuple(str(number) for number in range(labels.max() + 1))
    units = [str(row) for row in rows]
    drawn = groups_of(units) if len(set(units)) < len(units) else None
    measures = ClassMeasures(labels[rows], names, None, 10, drawn)
    evidence = Evidence(
        EvaluationRows(tuple(units), rows), len(set(units)) < len(units), len(rows), len(set(units))
    )
    return select_candidate(
        evidence, measures, given, sizes, select_by="accuracy", bootstrap=BOOTSTRAP
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
    picked = {
        RULES[0]: chosen(*validation, labels, sizes),
        RULES[1]: chosen(*folded, labels, sizes),
    }
    scores = {
        name: float(
            (answers(model, series, labels, train=own, asked=rest).argmax(axis=1) == labels[rest]).mean()
        )
        for name, model in CANDIDATES.items()
    }
    best = max(scores.values())
    return {rule: (scores[name] == best, best - scores[name]) for rule, name in picked.items()}


def main():
    """Print a line per set and rule."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--resamples", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=1, help="how often five folds are cut")
    parser.add_argument("--sets", nargs="+", default=SETS)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"{'set':<20} {'labelled':>8}  {'rule':<26} {'best chosen':>11}  accuracy lost (standard error)")
    for name in arguments.sets:
        series, labels = read_set(arguments.data, name)
        counts = np.bincount(labels)
        kept = np.isin(labels, np.flatnonzero(counts >= 6))
        series, labels = series[kept], np.unique(labels[kept], return_inverse=True)[1]
        found = [one_resample(series, labels, seed, arguments.repeats) for seed in range(arguments.resamples)]
        for rule in RULES:
            right, lost = np.array([resample[rule] for resample in found], float).T
            error = lost.std() / np.sqrt(len(lost))
            print(
                f"{name:<20} {len(labels) // 2:>8}  {rule:<26} {right.mean():>11.0%}  {lost.mean():.4f} ({error:.4f})",
                flush=True,
            )


if __name__ == "__main__":
    main()

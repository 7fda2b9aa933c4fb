"""Models whose answers are set by hand, and questions about them with baselines that know nothing."""

from dataclasses import replace

import numpy as np

from pipeline.gate.decision import Decision, decide
from pipeline.gate.question import Question, Rules, ScoredModel
from pipeline.metrics.classification import accuracy_score
from pipeline.metrics.names import bound_metrics
from pipeline.metrics.values import mean_absolute_error

CLASS_METRICS = bound_metrics("classification", {"num_bins": 15, "positive": None})
MODEL_METRICS = bound_metrics("regression", {"naive_errors": None})


def contender(name: str, said: np.ndarray, num_classes: int = 3, sure: float = 0.8) -> ScoredModel:
    """Return a model that answered with these classes, 0.8 sure."""
    rest = (1 - sure) / (num_classes - 1)
    probabilities = np.full((len(said), num_classes), rest)
    probabilities[np.arange(len(said)), said] = sure
    ids = [f"test/{index}" for index in range(len(said))]
    classes = [str(index) for index in range(num_classes)]
    return ScoredModel(name, f"digest of {name}", classes, ids, probabilities, accuracy_score, CLASS_METRICS)


def answers(generator: np.random.Generator, y_true: np.ndarray, share_right: float) -> np.ndarray:
    """Return answers that are right with the given chance."""
    wrong = (y_true + generator.integers(1, 3, len(y_true))) % 3
    return np.where(generator.random(len(y_true)) < share_right, y_true, wrong)


def forecaster(name: str, y_true: np.ndarray, error: float, seed: int) -> ScoredModel:
    """Return a model whose forecasts miss by a normal variable of that deviation."""
    noise = np.random.default_rng(seed).normal(scale=error, size=y_true.shape)
    ids = [f"series@{step}" for step in range(len(y_true))]
    return ScoredModel(name, f"digest of {name}", (), ids, y_true + noise, mean_absolute_error, MODEL_METRICS)


def ignorant(like: ScoredModel, y_true: np.ndarray) -> ScoredModel:
    """Return a baseline that is wrong everywhere, scored as `like` was."""
    if like.classes:
        predictions = np.zeros((len(y_true), len(like.classes)))
        predictions[np.arange(len(y_true)), (np.asarray(y_true) + 1) % len(like.classes)] = 1
    else:
        predictions = y_true + 1e6
    return replace(like, name="ignorant", model_sha256="ignorant", predictions=predictions, threshold=None)


def next_champion(y_true, challenger: ScoredModel, champion: ScoredModel, rules: Rules, **more) -> Decision:
    """Decide between two models; the only baseline knows nothing."""
    baselines = [ignorant(challenger, y_true)]
    return decide(Question(y_true, challenger, champion, baselines, **more), rules)


def first_champion(y_true, challenger: ScoredModel, baselines, rules: Rules, **more) -> Decision:
    """Decide about a model where there is no champion yet."""
    return decide(Question(y_true, challenger, None, baselines, **more), rules)

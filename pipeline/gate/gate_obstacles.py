"""Why models cannot be compared at all: too few rows, other rows or classes, answers that are none."""

from collections.abc import Sequence

import numpy as np

from pipeline.gate.question import Contender, Question, Rules, Truth
from pipeline.metrics.classification import check_probabilities
from pipeline.metrics.intervals import few_groups
from pipeline.metrics.values import check_finite


def obstacles(question: Question, rules: Rules) -> list[str]:
    """Return why the models of a question cannot be compared, in words; empty if they can."""
    y_true, challenger = question.y_true, question.challenger
    problems = []
    if len(y_true) < rules.rows:
        problems.append(f"{len(y_true)} examples are too few to judge by; at least {rules.rows} are needed.")
    if few := few_groups(question.blocks):
        problems.append(few)
    if not question.baselines:
        problems.append("There is no baseline to compare with, so nothing shows that it learned.")
    for model in (challenger, *question.opponents):
        problems += _flaws(y_true, model)
        if list(model.classes) != list(challenger.classes):
            problems.append(_difference("classes", model, challenger, model.classes, challenger.classes))
        if list(model.sample_ids) != list(challenger.sample_ids):
            problems.append(f"{model.name} and {challenger.name} were not scored on the same examples.")
    return problems


def same_answers(question: Question) -> str:
    """Return in words that challenger and champion answer alike everywhere; "" if they do not.

    Equal probabilities that another threshold makes better or worse are other answers.
    """
    champion, challenger = question.champion, question.challenger
    if champion is None or not np.array_equal(champion.predictions, challenger.predictions):
        return ""
    values = [model.metric(question.y_true, model.predictions, None) for model in (challenger, champion)]
    if values[0] != values[1]:
        return ""
    return (
        f"{challenger.name} answers every one of {len(question.y_true)} examples exactly as {champion.name} does: "
        "a model compared with itself proves nothing."
    )


def _flaws(y_true: Truth, model: Contender) -> list[str]:
    """Return what is wrong with one model's answers alone."""
    expected = (len(y_true), len(model.classes)) if len(model.classes) else y_true.shape
    if model.predictions.shape != expected or len(model.sample_ids) != len(y_true):
        received = f"{model.predictions.shape} for {len(model.sample_ids)} sample ids"
        return [f"{model.name} must answer in shape {expected}, one row per example. Received: {received}."]
    try:
        if len(model.classes):
            check_probabilities(model.predictions, model.name)
        else:
            check_finite(model.predictions, model.name)
    except ValueError as error:
        return [str(error)]
    return []


def _difference(
    what: str, one: Contender, other: Contender, first: Sequence[str], second: Sequence[str]
) -> str:
    only = sorted(set(first) ^ set(second))
    detail = f"only one of them knows {', '.join(only)}" if only else "same names, another order"
    return f"{one.name} and {other.name} have different {what}: {detail}."

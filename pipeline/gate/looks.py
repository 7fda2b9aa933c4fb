"""How much of the chance of a false promotion one look at the test set may spend.

A test set that judges every night would promote an equal model every few weeks, were each night a fresh 2.5 %. So the
looks of one reign share one budget: the chance that the gate states, `Rules.tail`, is the chance that a champion ever
loses to models that are no better, on one test set. Look k since the champion was judged gets 1 / (k (k + 1)) of it: a
half, a sixth, a twelfth; all of them add up to 1, whatever happens between them, since no independence is asked for.
A promotion begins a new reign with a new budget, and so do other test rows: what the ledger of the test set counts
together (`pipeline.evaluation.ledger`). It is the payout of alpha-investing (Foster and Stine 2008), "Alpha-investing:
a procedure for sequential control of expected false discoveries": false promotions are expected no oftener than that
chance times one more than all promotions. See docs/decisions/0019.
"""

from collections.abc import Sequence
from dataclasses import replace

from pipeline.gate.question import Check, Look, Rules


def look_of(judged: Sequence[str], chances: Sequence[str], model_sha256: str, champion_sha256: str) -> Look:
    """Return which look at the test set a decision is.

    Args:
        judged: Digests of all models that were judged on these rows, the first look first; see `ledger.uses`.
        chances: Of those that could replace this champion, the first chance first; see `ledger.judged_against`.
        model_sha256: Of the model in question, wherever it stands among them.
        champion_sha256: Of the champion; "" if there is none.
    """
    number, place = (
        models.index(model_sha256) if model_sha256 in models else len(models) for models in (chances, judged)
    )
    return Look(number + 1, place + 1, champion_sha256 in judged)


def share_of_budget(number: int) -> float:
    """Return which share of the budget the look of that number (from 1) may spend; over all looks they add up to 1."""
    return 1 / (number * (number + 1))


def spending(rules: Rules, look: Look | None) -> Rules:
    """Return the rules with the confidence that is left for a look; None: nothing was looked at before or will be."""
    if look is None:
        return rules
    return replace(rules, confidence=1 - 2 * rules.tail * share_of_budget(look.number))


def told(look: Look, rules: Rules) -> Check:
    """Return what the page says about a look."""
    chosen = "; the champion's own score was chosen on this set" if look.champion_was_chosen else ""
    received = (
        f"look {look.on_rows} at these rows, look {look.number} of this reign, which may spend "
        f"{100 * rules.tail * share_of_budget(look.number):.2g}%{chosen}"
    )
    expected = f"{100 * rules.tail:.2g}% for all looks of a reign together"
    return Check("chance that an equal model is promoted", "told", expected, received)


def sentence(look: Look, rules: Rules) -> str:
    """Return in words that earlier looks have made the interval wider; "" at the first."""
    if look.number == 1:
        return ""
    return (
        f"This is look {look.number} of one reign at the same test rows, so {confidence_words(spending(rules, look))} "
        f"intervals decide: all looks together promote a model that is no better in {100 * rules.tail:.2g}% of cases. "
        "A promotion, or other test rows, begin a new budget."
    )


def confidence_words(rules: Rules) -> str:
    """Return the confidence with as many digits as it needs: 95%, 99.17%, 99.9943%."""
    digits = 0
    while (
        abs(round(100 * rules.confidence, digits) - 100 * rules.confidence) > 2 * rules.tail and digits < 12
    ):
        digits += 1
    return f"{100 * rules.confidence:.{digits}f}%"

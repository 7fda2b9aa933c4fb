"""All looks of a reign at one test set share the chance of a false promotion, and the page says which look it is."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from pipeline.evaluation.ledger import Holdout, Use, add_uses, judged_against, note_use, uses
from pipeline.gate.decision import decide
from pipeline.gate.looks import confidence_words, look_of, share_of_budget, spending
from pipeline.gate.opponents import improvements
from pipeline.gate.question import Look, Question, Rules
from pipeline.metrics.names import primary_called
from tests.helpers.gate_pairs import answers, contender, first_champion, ignorant, next_champion

RULES = Rules(primary=primary_called("accuracy"), margin=0.0, confidence=0.95, resamples=200, seed=0)
ROWS = Holdout.of("rows", ["a", "b"])
REFRESH = replace(RULES, mode="non_inferiority", non_inferiority_margin=0.05, floors={"accuracy": 0.5})


def test_the_shares_of_all_looks_add_up_to_the_budget():
    """A half, a sixth, a twelfth: after k looks 1 - 1 / (k + 1) is spent."""
    shares = [share_of_budget(number) for number in range(1, 1001)]
    assert shares[:3] == pytest.approx([1 / 2, 1 / 6, 1 / 12])
    assert sum(shares) == pytest.approx(1 - 1 / 1001)


@pytest.mark.parametrize(
    ("judged", "model", "champion", "look"),
    [
        (["m1"], "m1", "", (1, 1, False)),
        (["m1", "m2", "m3"], "m3", "", (3, 3, False)),  # two were refused before there was a champion
        (["m1", "m2"], "m2", "m1", (1, 2, True)),
        (["m1", "m2", "m3", "m4"], "m4", "m1", (3, 4, True)),
        (["m1", "m2", "m3", "m4"], "m4", "m3", (1, 4, True)),  # a promotion begins a new budget
        (["m1", "m2", "m3", "m4"], "m2", "m1", (1, 2, True)),  # judged again, it keeps its place
        (["m1", "m2", "m3"], "m1", "m2", (2, 1, True)),  # an older model against a younger champion
        (["m2", "m3"], "m3", "m1", (2, 2, False)),  # other rows: the champion was not chosen on them
    ],
)
def test_looks_are_counted_since_the_champion_was_judged(tmp_path, judged, model, champion, look):
    """What the ledger knows of the rows, in the order of the first looks; then the model is judged, as the gate does."""
    path = tmp_path / "ledger.jsonl"
    add_uses([Use(ROWS, name, "evaluate", f"2026-01-{day:02d}") for day, name in enumerate(judged, 1)], path)
    note_use(ROWS, model, "register", path, against=champion)
    assert Look(*look) == _look(path, model, champion)


def test_models_that_were_refused_have_one_budget_against_the_next_champion_too(tmp_path):
    """Nine are refused, B is promoted, and each of the nine is judged again, as their branches run again: nine looks."""
    path = tmp_path / "ledger.jsonl"
    nine = [f"m{number}" for number in range(9)]
    for name in ("A", *nine, "B"):
        note_use(ROWS, name, "register", path, against="A" if name != "A" else "")
    numbers = []
    for name in (*nine, "new", nine[3]):
        note_use(ROWS, name, "register", path, against="B")
        numbers.append(_look(path, name, "B").number)
    assert numbers == [*range(1, 11), 4]
    assert sum(map(share_of_budget, range(1, 11))) < 1


def _look(path, model, champion):
    judged = [use.model_sha256 for use in uses(ROWS, path)]
    return look_of(judged, judged_against(ROWS, champion, path), model, champion)


def test_a_look_has_the_confidence_that_is_left():
    """Look 4 has a twentieth of 2.5 %; without a ledger all of it."""
    assert spending(RULES, Look(4, 4, True)).confidence == pytest.approx(1 - 0.05 / 20)
    assert spending(RULES, None) is RULES
    words = [confidence_words(replace(RULES, confidence=1 - 0.05 / parts)) for parts in (1, 2, 6, 870)]
    assert ["95%", "97.5%", "99.17%", "99.9943%"] == words


@pytest.fixture
def pair():
    """Return 600 labels, a champion right in 75 % and a challenger right in 82 %."""
    y_true = np.arange(600) % 3
    champion = contender("champion", answers(np.random.default_rng(2), y_true, 0.75))
    return y_true, champion, contender("challenger", answers(np.random.default_rng(4), y_true, 0.82))


def test_a_late_look_asks_for_more(pair):
    """The same pair: promoted at the first look, refused at the twentieth, in words."""
    y_true, champion, challenger = pair
    first, late = (
        next_champion(y_true, challenger, champion, RULES, look=Look(number, number, True))
        for number in (1, 20)
    )
    assert ("promoted", "refused") == (first.verdict, late.verdict)
    told = next(check for check in late.checks if check.name == "chance that an equal model is promoted")
    assert "look 20 at these rows, look 20 of this reign" in told.received
    assert "the champion's own score was chosen on this set" in told.received
    assert "This is look 20 of one reign at the same test rows" in " ".join(late.reasons)
    assert late.differences["champion"].low < first.differences["champion"].low


def test_a_late_look_asks_more_of_floors_and_baselines_too(pair):
    """A floor that the first model holds, the two hundredth of as many tries does not."""
    y_true, _champion, challenger = pair
    rules = replace(RULES, floors={"accuracy": 0.77})
    verdicts = [
        first_champion(
            y_true, challenger, [ignorant(challenger, y_true)], rules, look=Look(number, number, False)
        ).verdict
        for number in (1, 200)
    ]
    assert ["promoted", "refused"] == verdicts


def test_harm_needs_no_more_proof_at_a_late_look(pair):
    """A class that falls refuses at look 100 as at look 1: that interval does not grow."""
    y_true, champion, _challenger = pair
    fallen = contender("fallen", np.where(y_true == 2, 0, y_true))
    for number in (1, 100):
        rules = replace(RULES, class_tolerance=0.05)
        decision = next_champion(y_true, fallen, champion, rules, look=Look(number, number, True))
        (fall,) = [check for check in decision.checks if check.name == "class 2"]
        assert "failed" == fall.verdict


def test_a_month_of_equal_nights_seldom_promotes():
    """40 months of 30 equal models on one test set: 2.5 % may promote one; 23 to 28 % do if each night is the first."""
    generator, months = np.random.default_rng(11), {True: 0, False: 0}
    y_true, rules = np.zeros(100, int), replace(RULES, resamples=20)
    for _month in range(40):
        chance = generator.beta(1.36, 0.24, 100)  # 0.85 right, 12 % discordant
        right = generator.random((31, 100)) < chance
        champion, *nights = [
            contender(f"m{night}", np.where(own, 0, 1), 2) for night, own in enumerate(right)
        ]
        for budget in months:
            months[budget] += any(
                improvements(
                    Question(y_true, model, champion, []),
                    spending(rules, Look(number, number, True) if budget else None),
                )[0].beaten
                for number, model in enumerate(nights, 1)
            )
    most = stats.binom.ppf(0.995, 40, 0.025)
    assert months[True] <= most < months[False]


def refreshed(y_true, lost, name):
    """Return a model that answers so many of the examples wrong, and is a little less sure than others."""
    said = np.where(np.arange(len(y_true)) < lost, (y_true + 1) % 3, y_true)
    return contender(name, said, sure=0.8 - lost / 1e5)


def test_refreshes_do_not_add_up():
    """Each 2 points worse than the one before and within 5: the third is 6 below the last that was better."""
    y_true = np.arange(1000) % 3
    models = [refreshed(y_true, lost, f"m{lost}") for lost in (0, 20, 40, 60)]
    verdicts = []
    for count, (champion, challenger) in enumerate(pairwise(models)):
        superior = replace(models[0], name="the last promoted as better") if count else None
        question = Question(
            y_true, challenger, champion, [ignorant(challenger, y_true)], superior, count, Look(1, count + 2, True)
        )  # fmt: skip
        decision = decide(question, REFRESH)
        verdicts.append(decision.verdict)
    assert ["promoted", "refused"] == [verdicts[0], verdicts[-1]]
    assert "the last promoted as better: accuracy 0.9400 against 1.0000, -0.0600" in " ".join(
        decision.reasons
    )
    assert "the sum of 3 refreshes since" in " ".join(decision.reasons)
    alone = decide(replace(question, superior=None), REFRESH)
    assert "promoted" == alone.verdict


def test_better_than_a_champion_that_crept_is_not_yet_better():
    """Mode superiority: above the refreshed champion and below the one before it, so no new measure is set by it."""
    y_true = np.arange(1000) % 3
    best, crept, between = (refreshed(y_true, lost, f"m{lost}") for lost in (0, 40, 20))
    question = Question(y_true, between, crept, [ignorant(between, y_true)], best, 1)
    assert "refused" == decide(question, RULES).verdict
    assert "promoted" == decide(replace(question, superior=None), RULES).verdict

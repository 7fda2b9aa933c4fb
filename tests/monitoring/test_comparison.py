"""What a log says of a shadow and of a canary, against scikit-learn and both models asked directly."""

import itertools
import json
import re
from dataclasses import replace

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest
import sklearn.metrics
from scipy import stats

from pipeline import cli
from pipeline.inputs.specs import output_spec
from pipeline.metrics.intervals import Interval
from pipeline.monitoring import comparison
from pipeline.monitoring.log import as_paper
from pipeline.monitoring.reading import answers_of, width_of
from pipeline.monitoring.rows import Answering, Request, rows_of, table_of
from pipeline.monitoring.watch import Asked, watch
from pipeline.monitoring.worth import independent_difference
from pipeline.runtime.files import write_json
from tests.helpers.served_models import DIGITS
from tests.monitoring.test_watch import CARD, HOUR, JUDGED, NOON, write_labels

CLASSES = DIGITS["classes"]
STATES = {
    "multilabel": {"payload": "text", "task": "multilabel", "classes": ["a", "b"], "class_counts": [1, 1], "train_samples": 2},
    "regression": {
        "payload": "text", "task": "regression",
        "target": {"names": ["load", "price"], "mean": [0, 0], "standard_deviation": [2.0, 1.0], "channels": []},
    },
}  # fmt: skip


class Log:
    """A log of two models that was made by hand."""

    def __init__(self, folder, seed=0, state=DIGITS, second=None, cards=(CARD, CARD)):
        self.folder, self.random, self.parts = folder, np.random.default_rng(seed), 0
        self.models = [
            Answering("digits", str(n + 6), f"digest{n + 6}", one, card, {})
            for n, (one, card) in enumerate(zip((state, second or state), cards, strict=True))
        ]
        (folder / "models").mkdir(parents=True, exist_ok=True)
        for model in self.models:
            write_json(folder / "models" / f"{model.digest}.json", as_paper(model))

    def write(
        self, which, role, answers, *, start=NOON, names=None, milliseconds=3.0, model_ms=0.5, hours=1.0
    ):
        """Write a part: a request for each answer, None for one that was refused."""
        names = names or [f"r{self.parts}-{n}" for n in range(len(answers))]
        requests = [
            Request(
                self.models[which], (start + hours * HOUR * n / len(answers)) / 1e6, name,
                None if role == "shadow" else milliseconds, [{"text": "x", "image": ""}], [answer],
                [() if answer else ("no",)], role=role, model_milliseconds=model_ms,
            )
            for n, (name, answer) in enumerate(zip(names, answers, strict=True))
        ]  # fmt: skip
        rows = rows_of(requests, keep_records=False)
        lines = msgspec.json.Encoder().encode_lines(rows)
        day = self.folder / "2026-11-29"
        day.mkdir(exist_ok=True)
        table = table_of(self.models[which], lines, keep_records=False, role=role)
        pq.write_table(table, day / f"part-2026-11-29T{self.parts:06}.000Z-{which}.parquet")
        self.parts += 1
        return names

    def shares(self, rows, peak=4.0):
        return self.random.dirichlet((peak, 1, 1), rows)

    def watched(self, **more):
        return watch(Asked(self.folder, "digits/6", **more)).content


def classes(shares, names=CLASSES):
    """Return answers of a classifier."""
    return [
        {"class": names[one.argmax()], "probability": float(one.max()), "probabilities": dict(zip(names, one.tolist(), strict=True))}
        for one in shares
    ]  # fmt: skip


def test_a_shadow_is_compared_record_by_record(tmp_path):
    """Agreement with its exact interval, what is said where they differ, and distances of probabilities."""
    log = Log(tmp_path)
    first = log.shares(400)
    second = np.where(log.random.random((400, 1)) < 0.3, log.shares(400), first)
    names = log.write(0, "answers", classes(first))
    order = log.random.permutation(400)
    log.write(1, "shadow", classes(second[order]), names=[names[row] for row in order], model_ms=0.8)
    (one,) = log.watched()["beside"]
    said = [side.argmax(axis=1) for side in (first, second)]
    same = int((said[0] == said[1]).sum())
    assert ("shadow", "digits/7", 400, 0) == (
        one["role"],
        one["called"],
        one["records"],
        one["without_first"],
    )
    exact = stats.binomtest(same, 400).proportion_ci(0.95, "exact")
    assert pytest.approx([same / 400, exact.low, exact.high], abs=1e-6) == [*one["agreement"].values()]
    confusion = sklearn.metrics.confusion_matrix(*said)
    told = {(pair["first"], pair["second"]): pair["records"] for pair in one["disagreements"]}
    expected = {
        (CLASSES[row], CLASSES[column]): int(confusion[row, column])
        for row, column in itertools.permutations(range(3), 2)
        if confusion[row, column]
    }
    assert expected == told
    apart = np.abs(first.astype(np.float32) - second.astype(np.float32)).max(axis=1)
    differences = one["differences"]["probability"]
    assert pytest.approx(apart.mean(), rel=1e-3) == differences["mean_absolute"]
    assert pytest.approx(np.quantile(apart, 0.99), rel=1e-3) == differences["p99"]
    assert pytest.approx(apart.max(), rel=1e-3) == differences["largest"]
    assert ({"p50": 0.5, "p99": 0.5}, {"p50": 0.8, "p99": 0.8}) == tuple(one["model_milliseconds"].values())


def test_the_model_that_answers_is_watched_and_the_shadow_moves_nothing(tmp_path):
    """Without a name the newest that clients heard; counts, latency and verdict are of its own rows."""
    log = Log(tmp_path)
    names = log.write(0, "answers", classes(log.shares(100)), milliseconds=3.0)
    alone = watch(Asked(tmp_path)).content
    log.write(1, "shadow", classes(log.shares(100)), names=names)
    both = watch(Asked(tmp_path)).content
    assert "6" == both["model"]["version"]
    assert {"digits/7 (shadow)": 100} == both["other_models"]
    assert {name: alone[name] for name in ("total", "outcomes", "requests")} == {
        name: both[name] for name in ("total", "outcomes", "requests")
    }
    assert ([], 1) == (alone["beside"], len(both["beside"]))
    log.write(1, "canary", classes(log.shares(10)), start=NOON + 9 * HOUR)
    assert "6" == watch(Asked(tmp_path)).content["model"]["version"], "the canary answered last, but not all"
    shadow = watch(Asked(tmp_path, "digits/7", until=NOON + 5 * HOUR)).content
    assert {"shadow": 100} == shadow["roles"]
    assert shadow["total"]["p50_milliseconds"] is None, "it has no client that waits"
    assert "100 of its 100 answers were given as a shadow: nobody got them." in shadow["notes"]
    assert [] == shadow["beside"]


def test_what_a_model_said_as_a_shadow_is_left_out_once_clients_hear_it(tmp_path):
    """It was promoted: counts, time and labels are of its own answers; the shadow's are told, and counted where alone."""
    log = Log(tmp_path)
    before = log.write(1, "answers", classes(log.shares(100)), hours=0.5)
    log.write(0, "shadow", classes(log.shares(100)), names=before, hours=0.5)
    shares = log.shares(50)
    names = log.write(0, "answers", classes(shares), start=NOON + 9 * HOUR)
    truth = [CLASSES[place] for place in shares.argmax(axis=1)]
    rows = [[name, "dark"] for name in before] + [[name, c] for name, c in zip(names, truth, strict=True)]
    content = log.watched(labels=write_labels(tmp_path / "labels.csv", rows))
    assert ({"answers": 50}, {"answered": 50}, 50) == (
        content["roles"], content["outcomes"], content["labels"]["judged"],
    )  # fmt: skip
    assert 1.0 == content["metrics"]["accuracy"]["live"]["value"]
    assert {"digits/6 (shadow)": 100, "digits/7": 100} == content["other_models"]
    assert "Left out: 100 of digits/6 (shadow), 100 of digits/7." in content["notes"]
    alone = log.watched(until=NOON + 5 * HOUR)
    assert ({"shadow": 100}, {"digits/7": 100}) == (alone["roles"], alone["other_models"])


def test_refusals_and_lost_rows_are_told_apart(tmp_path):
    """Of both, of one alone; a row whose other half the log has lost is counted."""
    log = Log(tmp_path)
    answers = classes(log.shares(10))
    names = log.write(0, "answers", [None, None, *answers[2:8]])
    more = [f"lost-{n}" for n in range(4)]
    log.write(
        1, "shadow", [None, answers[1], None, None, None, *answers[5:8], *answers[:4]], names=[*names, *more]
    )
    (one,) = log.watched()["beside"]
    assert {"both": 1, "first_alone": 1, "second_alone": 3} == one["refused"]
    assert (8, 4, 1.0) == (one["records"], one["without_first"], one["agreement"]["value"])


@pytest.mark.parametrize("accuracy", [(0.8, 0.8), (0.7, 0.85)])
def test_metrics_of_a_shadow_are_those_of_scikit_learn(tmp_path, accuracy):
    """On the records that both answered and somebody labelled; the difference is that of pairs."""
    log = Log(tmp_path / "log", seed=3)
    truth = log.random.integers(0, 3, 500)
    sides = []
    for right in accuracy:
        said = np.where(log.random.random(500) < right, truth, (truth + 1) % 3)
        sides.append(0.1 + 0.7 * np.eye(3)[said])
    answers = [classes(one) for one in sides]
    answers[1][3] = None
    names = log.write(0, "answers", answers[0])
    log.write(1, "shadow", answers[1], names=names)
    kept = [row for row in range(450) if row != 3]
    rows = [(names[row], CLASSES[truth[row]]) for row in range(450)]
    labels = write_labels(tmp_path / "labels.csv", rows)
    (one,) = log.watched(labels=labels)["beside"]
    assert {"first": 449, "second": 449} == one["labels"]
    for name, reference in (
        ("accuracy", lambda shares: sklearn.metrics.accuracy_score(truth[kept], shares.argmax(axis=1)[kept])),
        ("macro_f1", lambda shares: sklearn.metrics.f1_score(truth[kept], shares.argmax(axis=1)[kept], average="macro")),
        ("log_loss", lambda shares: sklearn.metrics.log_loss(truth[kept], shares[kept])),
    ):  # fmt: skip
        expected = [reference(shares) for shares in sides]
        metric = one["metrics"][name]
        assert pytest.approx(expected, abs=1e-5) == [metric["first"]["value"], metric["second"]["value"]]
        assert pytest.approx(expected[1] - expected[0], abs=1e-5) == metric["difference"]["value"]
    difference = one["metrics"]["accuracy"]["difference"]
    right = [shares.argmax(axis=1)[kept] == truth[kept] for shares in sides]
    gains = right[1].astype(float) - right[0]
    error = gains.std(ddof=1) / np.sqrt(len(kept))
    assert pytest.approx(1.96 * error, rel=0.15) == difference["value"] - difference["low"]
    assert (accuracy[0] != accuracy[1]) == (difference["low"] > 0)


def test_a_few_labels_on_which_both_are_right_prove_nothing(tmp_path):
    """Without one record that tells them apart, a bootstrap would be sure that they are equal."""
    log = Log(tmp_path / "log")
    shares = 0.1 + 0.7 * np.eye(3)[[0, 1, 2] * 10]
    names = log.write(0, "answers", classes(shares))
    log.write(1, "shadow", classes(shares), names=names)
    labels = write_labels(
        tmp_path / "labels.csv", [(name, CLASSES[row % 3]) for row, name in enumerate(names)]
    )
    (one,) = log.watched(labels=labels)["beside"]
    difference = one["metrics"]["accuracy"]["difference"]
    assert (0, True, True) == (difference["value"], difference["low"] < -0.05, difference["high"] > 0.05)


def test_classes_are_compared_by_name(tmp_path):
    """Another order of the same classes is no difference; with other classes metrics stand side by side alone."""
    turned = DIGITS | {"classes": CLASSES[::-1]}
    log = Log(tmp_path / "turned", second=turned)
    shares = log.shares(60)
    names = log.write(0, "answers", classes(shares))
    log.write(1, "shadow", classes(shares[:, ::-1], CLASSES[::-1]), names=names)
    labels = write_labels(
        tmp_path / "labels.csv", [(name, CLASSES[row % 3]) for row, name in enumerate(names)]
    )
    (one,) = log.watched(labels=labels)["beside"]
    assert (1.0, 0.0) == (one["agreement"]["value"], one["differences"]["probability"]["largest"])
    assert one["metrics"]["log_loss"]["first"] == one["metrics"]["log_loss"]["second"]
    more = DIGITS | {"classes": ["dark", "light", "pink", "white"], "class_counts": [1] * 4}
    log = Log(tmp_path / "more", second=more)
    names = log.write(0, "answers", classes(shares), names=names)
    log.write(1, "shadow", classes(log.random.dirichlet([1] * 4, 60), more["classes"]), names=names)
    (one,) = log.watched(labels=labels)["beside"]
    assert "other classes" in one["notes"][0]
    assert one["metrics"]["accuracy"]["difference"] is None
    assert {"first": 60, "second": 40} == one["labels"], "of class grey the second knows nothing"


def test_the_threshold_of_each_counts(tmp_path):
    """Two classes: the same probabilities at two operating points are two answers, and two accuracies."""
    state = DIGITS | {"classes": ["ham", "spam"], "class_counts": [5, 5]}
    cards = [CARD | {"operating_point": {"positive_class": "spam", "threshold": at}} for at in (0.5, 0.8)]
    log = Log(tmp_path / "log", state=state, cards=cards)
    spam = log.random.random(200)
    sides = [
        [one | {"class": "spam" if p >= at else "ham"} for one, p in zip(classes(np.c_[1 - spam, spam], state["classes"]), spam, strict=True)]
        for at in (0.5, 0.8)
    ]  # fmt: skip
    names = log.write(0, "answers", sides[0])
    log.write(1, "shadow", sides[1], names=names)
    truth = np.where(log.random.random(200) < spam, "spam", "ham")
    labels = write_labels(tmp_path / "labels.csv", list(zip(names, truth, strict=True)))
    (one,) = log.watched(labels=labels)["beside"]
    expected = [sklearn.metrics.accuracy_score(truth, [answer["class"] for answer in side]) for side in sides]
    metric = one["metrics"]["accuracy"]
    assert pytest.approx(expected, abs=1e-6) == [metric["first"]["value"], metric["second"]["value"]]
    assert pytest.approx(np.mean((spam < 0.5) | (spam >= 0.8)), abs=1e-6) == one["agreement"]["value"]


def test_labels_and_numbers_are_compared_too(tmp_path):
    """Sets of labels whatever their order; values by target, with their sign."""
    log = Log(
        tmp_path / "labels", state=STATES["multilabel"], second=STATES["multilabel"] | {"classes": ["b", "a"]}
    )
    one = {"labels": ["a", "b"], "probabilities": {"a": 0.75, "b": 0.75}}
    other = {"labels": ["b", "a"], "probabilities": {"b": 0.625, "a": 0.75}}
    less = {"labels": ["a"], "probabilities": {"b": 0.25, "a": 0.75}}
    names = log.write(0, "answers", [one] * 4)
    log.write(1, "shadow", [other, other, other, less], names=names)
    (found,) = log.watched()["beside"]
    assert (0.75, 0.5) == (found["agreement"]["value"], found["differences"]["probability"]["largest"])
    log = Log(tmp_path / "values", state=STATES["regression"])
    values = log.random.normal(size=(2, 50, 2))
    answers = [[{"values": {"load": a, "price": b}} for a, b in side.tolist()] for side in values]
    names = log.write(0, "answers", answers[0])
    log.write(1, "shadow", answers[1], names=names)
    rows = [
        (name, *truth) for name, truth in zip(names, log.random.normal(size=(50, 2)).tolist(), strict=True)
    ]
    labels = write_labels(tmp_path / "labels.csv", rows, ("id", "load", "price"))
    (found,) = log.watched(labels=labels)["beside"]
    assert found["agreement"] is None
    for place, name in enumerate(("load", "price")):
        apart = values[1, :, place] - values[0, :, place]
        assert pytest.approx(apart.mean(), rel=1e-3) == found["differences"][name]["mean"]
        assert pytest.approx(np.abs(apart).mean(), rel=1e-3) == found["differences"][name]["mean_absolute"]
    truth = np.array([row[1:] for row in rows])
    expected = [sklearn.metrics.r2_score(truth, side.astype(np.float32)) for side in values]
    metric = found["metrics"]["r2"]
    assert pytest.approx(expected, abs=1e-4) == [metric["first"]["value"], metric["second"]["value"]]
    assert metric["difference"]["low"] < expected[1] - expected[0] < metric["difference"]["high"]


def test_a_canary_is_a_sample_of_its_own(tmp_path):
    """Requests, refusals, times and answers of both while there was one; what was asked before is left out."""
    log = Log(tmp_path)
    log.write(0, "answers", classes(log.shares(500, 1.0)), start=NOON - 24 * HOUR)
    sides = log.shares(900), log.shares(100, 1.0)
    log.write(
        0, "answers", [None] * 9 + classes(sides[0])[9:], start=NOON + 60_000_000, milliseconds=2.0, hours=0.9
    )
    log.write(1, "canary", [None] * 4 + classes(sides[1])[4:], milliseconds=4.0)
    content = log.watched()
    (one,) = content["beside"]
    assert ("canary", 0.1) == (one["role"], one["share_of_requests"])
    assert [(900, 9), (100, 4)] == [
        (one[side]["records"], one[side]["refused"]) for side in ("first", "second")
    ]
    assert pytest.approx(2, rel=0.1) == one["first"]["milliseconds"]["p50"]
    assert pytest.approx(4, rel=0.1) == one["second"]["milliseconds"]["p99"]
    counts = [
        np.bincount(side[skip:].argmax(axis=1), minlength=3) for side, skip in zip(sides, (9, 4), strict=True)
    ]
    assert (
        pytest.approx(stats.chi2_contingency(counts, correction=False).pvalue, rel=1e-3)
        == one["answers"]["p_value"]
    )
    assert pytest.approx(sides[1][4:].max(axis=1).mean(), rel=1e-3) == one["second"]["means"]["confidence"]
    assert {"digits/7 (canary)": 100} == content["other_models"]


def test_metrics_of_a_canary_stand_beside_those_of_the_others(tmp_path):
    """Each by the labels of its own records; the difference is that of two samples."""
    log = Log(tmp_path / "log", seed=5)
    rows, sides = [], []
    for which, role, count, right in ((0, "answers", 600, 0.9), (1, "canary", 200, 0.6)):
        truth = log.random.integers(0, 3, count)
        said = np.where(log.random.random(count) < right, truth, (truth + 1) % 3)
        start, hours = (NOON + HOUR // 100, 0.9) if role == "answers" else (NOON, 1.0)
        names = log.write(which, role, classes(0.1 + 0.7 * np.eye(3)[said]), start=start, hours=hours)
        rows += [(name, CLASSES[one]) for name, one in zip(names, truth, strict=True)]
        sides.append((truth, said))
    (one,) = log.watched(labels=write_labels(tmp_path / "labels.csv", rows))["beside"]
    metric = one["metrics"]["accuracy"]
    expected = [sklearn.metrics.accuracy_score(*side) for side in sides]
    assert pytest.approx(expected, abs=1e-6) == [metric["first"]["value"], metric["second"]["value"]]
    assert pytest.approx(expected[1] - expected[0], abs=1e-6) == metric["difference"]["value"]
    assert metric["difference"]["high"] < 0
    assert {"first": 600, "second": 200} == one["labels"]


def test_the_difference_of_two_samples_holds_its_level():
    """Of shares with exact ends, whatever the sizes; and by hand."""
    from pipeline.metrics.ends import share_ends

    random, held, trials = np.random.default_rng(2), 0, 2000
    for _ in range(trials):
        sizes, chances = random.integers(10, 200, 2), random.uniform(0.5, 1, 2)
        right = random.binomial(sizes, chances)
        sides = [
            Interval(k / n, *share_ends(k / n, n, 0.95))
            for k, n in zip(right.tolist(), sizes.tolist(), strict=True)
        ]
        found = independent_difference(*sides)
        held += found.low <= chances[1] - chances[0] <= found.high
    assert held / trials > 0.95
    found = independent_difference(Interval(0.9, 0.7, 0.93), Interval(0.5, 0.46, 0.65))
    assert pytest.approx([-0.4, -0.4 - np.hypot(0.04, 0.03), -0.4 + np.hypot(0.15, 0.2)]) == [
        found.value, found.low, found.high,
    ]  # fmt: skip


def test_memory_is_bounded_by_the_newest(tmp_path, monkeypatch):
    """Of more pairs than are held at once the oldest are left out, and that is told."""
    monkeypatch.setattr(comparison, "MOST_PAIRED", 100)
    log = Log(tmp_path)
    shares = log.shares(60)
    for number in range(4):
        names = log.write(0, "answers", classes(shares), start=NOON + number * HOUR, hours=0.5)
        log.write(1, "shadow", classes(shares), names=names, start=NOON + number * HOUR, hours=0.5)
    (one,) = log.watched()["beside"]
    assert 120 == one["records"]
    assert "Older records" in one["notes"][0]


def test_a_log_of_an_earlier_release_is_read_as_before(tmp_path):
    """Its parts know neither role nor processor time."""
    log = Log(tmp_path)
    names = log.write(0, "answers", classes(log.shares(50)))
    (part,) = tmp_path.glob("2026*/*.parquet")
    table = pq.read_table(part).drop_columns(["role", "model_milliseconds"])
    said = json.loads(table.schema.metadata[b"millrace"])
    del said["role"]
    pq.write_table(table.replace_schema_metadata({"millrace": json.dumps(said)}), part)
    before = log.watched()
    assert ({"answers": 50}, []) == (before["roles"], before["notes"][1:])
    log.write(1, "shadow", classes(log.shares(50)), names=names)
    (one,) = log.watched()["beside"]
    assert (50, None, 0.5) == (
        one["records"],
        *(one["model_milliseconds"][side]["p50"] for side in ("first", "second")),
    )


def test_alarms_are_compared_and_numbers_of_every_task_have_a_width(tmp_path):
    """Errors and scores as they stand in the log; a card without rules for alarms has neither."""
    state = {
        "payload": "series", "task": "anomaly", "series": {"channels": ["a"]},
        "windows": {"length": 3, "horizon": 0, "stride": 1, "side": {"known": {}, "calendar": []}, "targets": []},
    }  # fmt: skip
    log = Log(tmp_path / "log", state=state)
    answers = [
        [{"error": float(n), "score": n / at, "alarm": n > at} for n in [*range(10)] * 9] for at in (5, 7)
    ]
    names = log.write(0, "answers", answers[0])
    log.write(1, "shadow", answers[1], names=names)
    labels = write_labels(tmp_path / "labels.csv", [(name, int(n % 10 > 5)) for n, name in enumerate(names)])
    (one,) = log.watched(labels=labels)["beside"]
    assert (0.8, [{"first": "true", "second": "false", "records": 18}]) == (
        one["agreement"]["value"],
        one["disagreements"],
    )
    assert 0.0 == one["differences"]["error"]["largest"]
    assert pytest.approx(9 / 5 - 9 / 7, rel=1e-3) == one["differences"]["score"]["largest"]
    truth = np.arange(90) % 10 > 5
    for name, reference in (
        ("positive_f1", sklearn.metrics.f1_score),
        ("balanced_accuracy", sklearn.metrics.balanced_accuracy_score),
    ):
        expected = [reference(truth, [answer["alarm"] for answer in side]) for side in answers]
        metric = one["metrics"][name]
        assert pytest.approx(expected, abs=1e-6) == [metric["first"]["value"], metric["second"]["value"]]
        assert metric["difference"]["high"] < 0
    bare = Log(tmp_path / "bare", state=state)
    names = bare.write(0, "answers", [{"error": 1.0}] * 3)
    bare.write(1, "shadow", [{"error": 2.0}] * 3, names=names)
    (one,) = bare.watched()["beside"]
    assert (None, ["error"]) == (one["agreement"], [*one["differences"]])
    assert 2 == width_of(output_spec(state))


def test_terminal_and_page_say_it(tmp_path, capsys):
    """Sentences on the terminal, a table on the page; the exit code is that of the model that answers."""
    log = Log(tmp_path / "log")
    truth = log.random.integers(0, 3, 80)
    names = log.write(0, "answers", classes(0.1 + 0.7 * np.eye(3)[truth]))
    wrong = np.where(np.arange(80) % 4, truth, (truth + 1) % 3)
    log.write(1, "shadow", classes(0.1 + 0.7 * np.eye(3)[wrong]), names=names)
    labels = write_labels(
        tmp_path / "labels.csv", [(n, CLASSES[t]) for n, t in zip(names, truth, strict=True)]
    )
    cli.main(["watch", str(tmp_path / "log"), "--labels", str(labels), "--page", str(tmp_path / "page.html")])
    said = capsys.readouterr().out
    assert "shadow digits/7: 80 of the same records, the same answer to 0.7500 (" in said
    assert re.search(r"accuracy 1\.0000 \(.*\), the shadow 0\.7500 \(.*\), difference -0\.2500 \(-0\.", said)
    assert "processor time of the model: p50 0.5" in said
    page = (tmp_path / "page.html").read_text()
    assert "The shadow digits/7" in page
    assert "-0.2500" in page
    log.write(1, "canary", classes(log.shares(20)))
    cli.main(["watch", str(tmp_path / "log")])
    assert "canary digits/7: 20 requests, 20.6% of those" in capsys.readouterr().out


def test_answers_of_rows_are_arrays():
    """Refused rows hold nothing; those that were withheld were answered."""
    model = Answering("digits", "6", "d", DIGITS, CARD, {"judged": JUDGED})
    answers = classes(np.array([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25]]))
    request = Request(
        model, 1.0, "r", 1.0, [{}] * 3, [answers[0], None, answers[1]], [(), ("no",), ()], withheld=True
    )
    lines = msgspec.json.Encoder().encode_lines(rows_of([request], keep_records=False))
    table = table_of(model, lines, keep_records=False).combine_chunks()
    batch = {name: table[name].chunk(0) for name in table.column_names}
    found = answers_of(batch, model.spec)
    assert [True, False, True] == found.there.tolist()
    assert ["dark", None, "grey"] == found.said.tolist()
    assert np.isnan(found.numbers[1]).all()
    assert np.isnan(found.milliseconds).all()
    assert [0.25, 0.5, 0.25] == replace(found).numbers[2].tolist()

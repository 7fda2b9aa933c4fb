"""What `millrace watch` says of a log: drift, time, labels; its exit code, its JSON, its page; memory that stays flat."""

import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sklearn.metrics

from pipeline import cli
from pipeline.evaluation.measures import Yardstick
from pipeline.inputs.specs import output_spec
from pipeline.monitoring.labels import Labels
from pipeline.monitoring.log import as_paper
from pipeline.monitoring.reading import milliseconds_at
from pipeline.monitoring.reference import Block
from pipeline.monitoring.rows import Answering, table_of
from pipeline.monitoring.watch import Asked, watch
from pipeline.monitoring.worth import Drawn, live_metrics
from pipeline.runtime.errors import DataRefused, InputMissing, WronglyCalled
from pipeline.runtime.files import write_json
from tests.helpers.served_models import DIGITS

CLASSES = ("dark", "grey", "light")
NOON = 1_796_000_000_000_000
"""Of a day in 2026, microseconds since 1970."""
HOUR = 3_600_000_000
CARD = {
    "task": "classification",
    "operating_point": {},
    "primary": {"name": "accuracy", "higher_is_better": True},
    "test": {"accuracy": {"value": 0.7, "low": 0.65, "high": 0.75}},
}
JUDGED = {"confidence": 0.95, "num_bins": 10, "positive_class": None, "resamples": 200, "seed": 1}


class Written:
    """A log that was made by hand, with a model that sees the mean of an image."""

    def __init__(self, folder, seed=0, *, version="1", reference=True, state=DIGITS, card=CARD):
        self.folder, self.random, self.state = folder, np.random.default_rng(seed), state
        self.parts = 0
        known = None
        if reference:
            numbers, names, _ = self.drawn(3000, self.random)
            train = {name: values for name, values in numbers.items() if name.startswith("stat.")}
            test = {"confidence": numbers["confidence"]}
            known = {
                "format": 1,
                "train": Block.of(train, {}, 3000, 3000).as_json(),
                "test": Block.of(test, names, 3000, 3000).as_json(),
                "judged": JUDGED,
            }
        self.model = Answering("digits", version, f"digest{version}", state, card, known)
        (folder / "models").mkdir(parents=True, exist_ok=True)
        write_json(folder / "models" / f"{self.model.digest}.json", as_paper(self.model))

    @staticmethod
    def drawn(rows, random, shift=0.0):
        means = np.clip(random.normal(0.5 + shift, 0.1, rows), 0, 1).round(6)
        shares = random.dirichlet((4, 1, 1), rows).astype(np.float32)
        said = shares.argmax(axis=1)
        numbers = {"stat.mean": means, "confidence": shares.max(axis=1)}
        return numbers, {"answer": [CLASSES[one] for one in said]}, shares

    def write(self, rows, *, shift=0.0, start=NOON, hours=2, refused=0, milliseconds=(1, 2), prefix="id"):
        """Write a part of so many records, one a request; return ids and probabilities."""
        numbers, names, shares = self.drawn(rows, self.random, shift)
        ids = [f"{prefix}-{self.parts}-{row}" for row in range(rows)]
        content = []
        for row in range(rows):
            gone = row < refused
            content.append(
                {
                    "time": start + int(hours * HOUR * row / rows), "request": ids[row], "index": 0, "id": ids[row],
                    "model": "digits", "version": self.model.version, "digest": self.model.digest, "sha256": "0",
                    "outcome": "refused" if gone else "answered",
                    "milliseconds": float(self.random.uniform(*milliseconds)),
                    "answer": None if gone else names["answer"][row],
                    "confidence": None if gone else float(shares[row].max()),
                    "probabilities": None if gone else shares[row].tolist(),
                    "stat.mean": float(numbers["stat.mean"][row]),
                }
            )  # fmt: skip
        self.put(content)
        return ids, shares

    def put(self, content):
        day = self.folder / "2026-11-29"
        day.mkdir(exist_ok=True)
        table = table_of(self.model, msgspec.json.Encoder().encode_lines(content), keep_records=False)
        pq.write_table(table, day / f"part-2026-11-29T{self.parts:06}.000Z-{self.model.version}.parquet")
        self.parts += 1


def write_labels(path, rows, columns=("id", "label")):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


def test_a_log_of_equal_rows_is_quiet_and_says_how_it_went(tmp_path):
    """Records, refusals, confidence and milliseconds, in all and over time."""
    log = Written(tmp_path)
    _, shares = log.write(2000, refused=40, milliseconds=(1, 3))
    watched = watch(Asked(tmp_path))
    content = watched.content
    assert watched.quiet
    assert {"answered": 1960, "refused": 40} == content["outcomes"]
    assert 2000 == content["requests"]
    assert pytest.approx(shares.max(axis=1)[40:].mean(), rel=1e-3) == content["total"]["confidence"]
    assert pytest.approx(2, rel=0.1) == content["total"]["p50_milliseconds"]
    assert pytest.approx(2.98, rel=0.1) == content["total"]["p99_milliseconds"]
    assert {"answer", "confidence", "stat.mean"} == {one["what"] for one in content["drift"]}
    assert 2000 == sum(one["rows"] for one in content["over_time"])
    assert 40 == sum(one["refused"] for one in content["over_time"])
    assert len(content["over_time"]) in (2, 3)
    assert content["notes"] == []


def test_drift_is_found_and_a_time_can_be_chosen(tmp_path):
    """What moved after noon is drift; the hours before are not; the exit code says so, and so does the page."""
    log = Written(tmp_path / "log")
    log.write(1000, start=NOON - 10 * HOUR)
    log.write(1000, start=NOON, shift=0.1)
    watched = watch(Asked(tmp_path / "log"))
    assert ["stat.mean"] == [one.what for one in watched.drifted]
    assert watch(Asked(tmp_path / "log", until=NOON)).quiet
    since = watch(Asked(tmp_path / "log", since=NOON))
    assert 1000 == since.seen.rows
    assert since.drifted[0].effect > watched.drifted[0].effect > 0.15
    assert watch(Asked(tmp_path / "log", since=NOON, effect=0.9)).quiet
    called = ["watch", str(tmp_path / "log"), "--page", str(tmp_path / "page.html")]
    with pytest.raises(SystemExit) as ended:
        cli.main(called)
    assert 3 == ended.value.code
    page = (tmp_path / "page.html").read_text()
    assert "Drifted: stat.mean." in page
    assert page.count("data:image/png") == 5  # drift, time, and three distributions
    cli.main([*called, "--until", "2026-11-30T02:00", "--since", "2026-11-29T20:00+01:00", "--effect", "0.9"])
    assert "Nothing drifted" in (tmp_path / "page.html").read_text()


def test_live_metrics_are_those_of_scikit_learn_with_the_labels_joined(tmp_path):
    """By id, in whatever order; duplicates, contradictions, labels without an answer and unknown ones are told."""
    log = Written(tmp_path / "log")
    ids, shares = log.write(400, refused=3)
    truth = [CLASSES[log.random.choice(3, p=one / one.sum())] for one in shares.astype(float)]
    labelled = list(range(100, 300))
    rows = [(ids[row], truth[row]) for row in labelled]
    rows += [
        rows[0],
        (ids[101], "dark"),
        (ids[101], "grey"),
        ("nobody", "dark"),
        (ids[0], "dark"),
        (ids[50], ""),
        (ids[51], "pink"),
    ]
    log.random.shuffle(rows)
    labels = write_labels(tmp_path / "labels.csv", rows)
    content = watch(Asked(tmp_path / "log", labels=labels)).content
    assert {
        "rows": 207, "joined": 199, "without_an_answer": 2, "repeated": 1, "contradicted": 1, "unlabelled": 1,
        "unknown_labels": 1, "answered_again": 0, "judged": 199,
    } == {**content["labels"], "repeated": 1}  # fmt: skip
    kept = [row for row in labelled if row != 101]
    wanted = [truth[row] for row in kept]
    said = [CLASSES[row] for row in shares[kept].argmax(axis=1)]
    live = {name: one["live"] for name, one in content["metrics"].items()}
    assert pytest.approx(sklearn.metrics.accuracy_score(wanted, said), abs=1e-6) == live["accuracy"]["value"]
    assert (
        pytest.approx(sklearn.metrics.f1_score(wanted, said, average="macro"), abs=1e-6)
        == live["macro_f1"]["value"]
    )
    known = shares[kept].astype(float)
    loss = sklearn.metrics.log_loss(wanted, known / known.sum(axis=1, keepdims=True), labels=list(CLASSES))
    assert pytest.approx(loss, abs=1e-4) == live["log_loss"]["value"]
    assert all(one["low"] <= one["value"] <= one["high"] for one in live.values())
    assert CARD["test"]["accuracy"] == content["metrics"]["accuracy"]["test"]


def test_a_metric_that_fell_is_told_and_one_that_may_be_chance_is_not(tmp_path):
    """The whole interval must be worse than that on the test set."""
    log = Written(tmp_path / "log")
    ids, shares = log.write(300)
    said = [CLASSES[row] for row in shares.argmax(axis=1)]

    def fallen(right):
        rows = [(name, one if place < 300 * right else "dark" if one != "dark" else "grey")
                for place, (name, one) in enumerate(zip(ids, said, strict=True))]  # fmt: skip
        return watch(Asked(tmp_path / "log", labels=write_labels(tmp_path / "labels.csv", rows)))

    assert not fallen(0.62).fallen
    worse = fallen(0.5)
    assert worse.fallen
    assert not worse.quiet
    assert "accuracy fell" in " ".join(worse.content["notes"])
    assert not fallen(0.9).fallen


def test_a_model_that_is_as_good_as_on_the_test_set_hardly_ever_falls():
    """Two intervals of equal models fail to meet in far less than one of forty looks, whatever the sizes."""
    random = np.random.default_rng(5)
    state = {"classes": ["a", "b"], "class_counts": [1, 1]}
    fallen = 0
    for _ in range(300):
        sides = []
        for rows in (150, 300):
            truth = random.integers(0, 2, rows)
            said = np.where(random.random(rows) < 0.9, truth, 1 - truth)
            joined = {str(row): ("ab"[truth[row]], np.eye(2)[said[row]].tolist()) for row in range(rows)}
            labels = Labels(output_spec(state), joined=joined)
            sides.append(live_metrics(labels, {}, Yardstick(), Drawn(100))["accuracy"])
        fallen += sides[0].high < sides[1].low
    assert fallen <= 300 / 40 / 2


def test_an_id_that_was_answered_twice_counts_once(tmp_path):
    """The first answer is what the label is about; a client that asked again is counted."""
    log = Written(tmp_path / "log")
    ids, shares = log.write(50)
    part = next((tmp_path / "log").glob("2026*/*.parquet"))
    table = pq.read_table(part)
    others = pa.array([row[::-1] for row in table["probabilities"].to_pylist()], pa.list_(pa.float32()))
    again = table.set_column(table.schema.get_field_index("probabilities"), "probabilities", others)
    pq.write_table(again, part.with_name("part-2026-11-29T999999.000Z-1.parquet"))
    labels = write_labels(tmp_path / "labels.csv", [(name, "dark") for name in ids[:40]])
    content = watch(Asked(tmp_path / "log", labels=labels)).content
    assert (40, 40) == (content["labels"]["joined"], content["labels"]["answered_again"])
    right = (shares[:40].argmax(axis=1) == CLASSES.index("dark")).mean()
    assert pytest.approx(right) == content["metrics"]["accuracy"]["live"]["value"]


def test_the_model_that_is_watched_can_be_named(tmp_path):
    """Without a name the one that answered last; the others are counted; without a reference drift cannot be told."""
    first = Written(tmp_path, version="1")
    first.write(100)
    second = Written(tmp_path, version="2", reference=False)
    second.parts = 1
    second.write(60)
    last = watch(Asked(tmp_path)).content
    assert ("2", {"digits/1": 100}) == (last["model"]["version"], last["other_models"])
    assert "no reference.json" in last["notes"][0]
    assert [] == last["drift"]
    assert "1" == watch(Asked(tmp_path, "digits/1")).content["model"]["version"]
    assert "1" == watch(Asked(tmp_path, "digest1")).content["model"]["version"]
    with pytest.raises(
        InputMissing, match=r"no records of digits/1 of that time.*Received: none since 2026-"
    ):
        watch(Asked(tmp_path, "digits/1", since=NOON + 90 * HOUR))
    with pytest.raises(InputMissing, match=r"digits/1, digits/2.*Received: digits/3"):
        watch(Asked(tmp_path, "digits/3"))


def test_what_cannot_be_watched_is_told(tmp_path):
    """No log, an empty log, no labels, other columns, other ids, a damaged part."""
    with pytest.raises(InputMissing, match="is no prediction log"):
        watch(Asked(tmp_path / "log"))
    log = Written(tmp_path / "log")
    with pytest.raises(InputMissing, match="holds no answers yet"):
        watch(Asked(tmp_path / "log"))
    log.write(50)
    asked = Asked(tmp_path / "log")
    with pytest.raises(InputMissing, match="Check --labels"):
        watch(replace(asked, labels=tmp_path / "nowhere.csv"))
    labels = write_labels(tmp_path / "labels.csv", [("a", "dark")])
    with pytest.raises(DataRefused, match="No label belongs to an answer"):
        watch(replace(asked, labels=labels))
    with pytest.raises(DataRefused, match="has no column truth"):
        watch(replace(asked, labels=labels, label_columns=("truth",)))
    with pytest.raises(WronglyCalled, match="answers 1 "):
        watch(replace(asked, labels=labels, label_columns=("id", "label")))
    part = next((tmp_path / "log").glob("2026*/*.parquet"))
    part.with_name("part-0.parquet").write_bytes(part.read_bytes()[:-100])
    content = watch(asked).content
    assert ["part-0.parquet"] == content["unread_parts"]
    assert 50 == content["outcomes"]["answered"]
    with pytest.raises(SystemExit) as ended:
        cli.main(["watch", str(tmp_path / "log"), "--label", "x"])
    assert 64 == ended.value.code


def exit_code_of(*called):
    try:
        cli.main(["watch", *map(str, called)])
    except SystemExit as ended:
        return ended.code
    return 0


def test_what_could_not_be_looked_at_is_not_quiet(tmp_path, capsys):
    """All that was found is printed first; what was found goes before what was not, in the exit code too."""
    log = Written(tmp_path / "log")
    log.write(400)
    asked = [tmp_path / "log", "--page", tmp_path / "page.html"]
    assert 0 == exit_code_of(*asked)
    assert 66 == exit_code_of(*asked, "--until", "2026-01-01")
    assert "holds no records of digits/1 of that time" in capsys.readouterr().err
    part = next((tmp_path / "log").glob("2026*/*.parquet"))
    damaged = part.with_name("part-0.parquet")
    damaged.write_bytes(part.read_bytes()[:-100])
    (tmp_path / "page.html").unlink()
    assert 74 == exit_code_of(*asked)
    told = capsys.readouterr()
    assert "400 answered" in told.out.replace("digits/1: ", "")
    assert "1 part files of" in told.err
    assert "part-0.parquet" in told.err
    page = (tmp_path / "page.html").read_text()
    assert "part files of" in page
    assert 'class="waiting"' in page
    assert "Nothing drifted" not in page
    log.write(4000, shift=0.1)
    assert 3 == exit_code_of(*asked)
    damaged.unlink()


def test_labels_that_do_not_give_the_primary_metric_are_not_quiet(tmp_path, capsys):
    """The area under the curve needs two classes; a card without metrics of the test set gives nothing to compare."""
    auc = {
        "primary": {"name": "roc_auc", "higher_is_better": True},
        "test": {"roc_auc": CARD["test"]["accuracy"]},
    }
    log = Written(tmp_path / "log", card=CARD | auc)
    ids, _ = log.write(400)
    labels = write_labels(tmp_path / "labels.csv", [(name, "dark") for name in ids[:100]])
    assert 65 == exit_code_of(tmp_path / "log", "--labels", labels)
    told = capsys.readouterr()
    assert "accuracy" in told.out
    assert "Received: 100 judged labels; these labels do not give it" in told.err
    assert 0 == exit_code_of(tmp_path / "log")
    log = Written(tmp_path / "other", card={"primary": CARD["primary"]})
    ids, _ = log.write(400)
    labels = write_labels(tmp_path / "labels.csv", [(name, "dark") for name in ids[:100]])
    assert 65 == exit_code_of(tmp_path / "other", "--labels", labels)
    assert "card.json does not hold it" in capsys.readouterr().err


def test_numbers_and_alarms_have_labels_too(tmp_path):
    """Of regressions the errors, of anomalies how often an alarm was right."""
    payload = {"payload": "series", "series": {"channels": ["load"]}, "windows": {"length": 3, "horizon": 1, "stride": 1, "side": {"calendar": [], "known": {"mode": "one_hot", "numbers": [], "categories": []}}}}  # fmt: skip
    target = {"names": ["load"], "mean": [0.0], "standard_deviation": [2.0], "channels": [0]}
    card = {"primary": {"name": "mean_absolute_error", "higher_is_better": False}, "test": {"mean_absolute_error": {"value": 1, "low": 0.9, "high": 1.1}}}  # fmt: skip
    state = payload | {"task": "forecasting", "target": target}
    log = Written(tmp_path / "a", reference=False, state=state, card=card)
    values, truth = log.random.normal(size=200), log.random.normal(size=200)
    row = {"time": NOON, "index": 0, "model": "digits", "version": "1", "digest": "digest1", "sha256": "", "outcome": "answered", "milliseconds": 1.0}  # fmt: skip
    log.put(
        [
            row | {"request": f"r{n}", "id": f"r{n}", "values": [float(value)]}
            for n, value in enumerate(values)
        ]
    )
    labels = write_labels(tmp_path / "a.csv", [(f"r{n}", one) for n, one in enumerate(truth)], ("id", "load"))
    watched = watch(Asked(tmp_path / "a", labels=labels))
    found = {name: one["live"]["value"] for name, one in watched.content["metrics"].items()}
    assert (
        pytest.approx(sklearn.metrics.mean_absolute_error(truth, values), abs=1e-6)
        == found["mean_absolute_error"]
    )
    assert pytest.approx(sklearn.metrics.r2_score(truth, values), abs=1e-6) == found["r2"]
    assert watched.fallen == (watched.content["metrics"]["mean_absolute_error"]["live"]["low"] > 1.1)

    log = Written(tmp_path / "b", reference=False, state=payload | {"task": "anomaly"}, card={})
    alarms, wanted = log.random.random(300) < 0.2, log.random.random(300) < 0.3
    log.put([row | {"request": f"r{n}", "id": f"r{n}", "error": 1.0, "score": 1.0, "alarm": bool(one)} for n, one in enumerate(alarms)])  # fmt: skip
    labels = write_labels(tmp_path / "b.csv", [(f"r{n}", int(one)) for n, one in enumerate(wanted)])
    content = watch(Asked(tmp_path / "b", labels=labels)).content
    assert pytest.approx(alarms.mean(), rel=1e-3) == content["total"]["alarm_share"]
    found = {name: one["live"]["value"] for name, one in content["metrics"].items()}
    assert pytest.approx(sklearn.metrics.f1_score(wanted, alarms), abs=1e-6) == found["positive_f1"]
    assert "single alarms" in " ".join(content["notes"])


def test_milliseconds_are_known_to_nine_percent():
    """Whatever their size; the share that lies below is the one that was asked for."""
    random = np.random.default_rng(0)
    values = np.exp(random.normal(1, 2, 20_000))
    bins = np.clip(np.floor(8 * np.log2(np.maximum(values, 0.01) / 0.01)), 0, 255).astype(int)
    latency = np.bincount(bins, minlength=256)
    for share in (0.5, 0.9, 0.99):
        assert pytest.approx(np.quantile(values, share), rel=0.1) == milliseconds_at(latency, share)
    assert milliseconds_at(np.zeros(256, int), 0.5) is None


def test_json_is_one_object_and_names_are_escaped(tmp_path, capsys):
    """What a client sent is data on a page, too."""
    log = Written(tmp_path / "log")
    log.model = replace(log.model, name="<script>")
    write_json(tmp_path / "log/models/digest1.json", as_paper(log.model))
    log.write(100)
    cli.main(["watch", str(tmp_path / "log"), "--json", "--page", str(tmp_path / "page.html")])
    content = json.loads(capsys.readouterr().out)
    assert "<script>" == content["model"]["name"]
    assert "<script>" not in (tmp_path / "page.html").read_text()


@pytest.mark.long
def test_memory_does_not_grow_with_the_log(tmp_path):
    """Ten and a hundred parts take the same, up to a few MB."""
    peaks = []
    code = (
        "import resource, sys; from pathlib import Path; from pipeline.monitoring.watch import Asked, watch\n"
        "print(watch(Asked(Path(sys.argv[1]))).seen.rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    )
    for parts in (10, 100):
        log = Written(tmp_path / str(parts))
        log.write(5000)
        (one,) = (tmp_path / str(parts)).glob("2026*/*.parquet")
        for number in range(1, parts):
            one.with_name(f"part-2026-11-29T1{number:05}.000Z-1.parquet").write_bytes(one.read_bytes())
        done = subprocess.run([sys.executable, "-c", code, str(tmp_path / str(parts))], capture_output=True, text=True,
                              cwd=Path(__file__).parents[2], check=True)  # fmt: skip
        rows, peak = done.stdout.split()
        assert 5000 * parts == int(rows)
        peaks.append(float(peak))
    assert peaks[1] < peaks[0] + 40

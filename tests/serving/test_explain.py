"""What an answer rests on is what asking without a part says, for every kind of record."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from pipeline import cli
from pipeline.preprocessing.series import scaler_of
from pipeline.serving.described import example_record
from pipeline.serving.explain import Explainer, explained_page, said_of
from pipeline.serving.record import means_read
from pipeline.serving.scorer import Scorer
from tests.helpers.served_data import WRITTEN, png, served_model
from tests.helpers.served_models import DIGITS, write_model

NAMES = ["digits", *WRITTEN]


@pytest.fixture(scope="module")
def scorers(tmp_path_factory):
    """Every kind of model."""
    return {name: served_model(name, tmp_path_factory.mktemp(name)).scorer for name in NAMES}


def explained(scorer, record):
    (answer,) = scorer.answers([record])
    return answer, Explainer(scorer).explained(record, answer)


def test_a_word_is_worth_what_the_answer_loses_without_it(scorers):
    """Each word of a text, in order, and each column beside it that has a value."""
    scorer = scorers["towns"]
    record = {"text": "win a home", "side": {"age": 3.0, "town": "Ulm"}}
    answer, found = explained(scorer, record)
    without = ["a home", "win home", "win a"]
    others = scorer.answers([{**record, "text": text} for text in without])
    chosen = answer["class"]
    assert (f"probability of {chosen}", answer["probability"]) == (found["of"], found["value"])
    assert ["win", "a", "home"] == [word for word, _less in found["words"]]
    expected = [answer["probability"] - other["probabilities"][chosen] for other in others]
    assert pytest.approx(expected) == [less for _word, less in found["words"]]
    (ageless,) = scorer.answers([{**record, "side": {"age": None, "town": "Ulm"}}])
    assert pytest.approx(answer["probability"] - ageless["probabilities"][chosen]) == found["side"]["age"]
    assert {"age", "town"} == set(found["side"])
    assert "side" not in explained(scorer, {"text": "win", "side": {}})[1]


def test_a_tile_is_worth_what_the_answer_loses_under_the_mean_colour(scorers):
    """Painted over before the model reads it; of 8 by 8 pixels each is a tile, of 16 by 16 four are."""
    scorer = scorers["digits"]
    pixels = np.random.default_rng(0).integers(0, 255, (8, 8), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    record = {"image": base64.b64encode(file.getvalue()).decode()}
    answer, found = explained(scorer, record)
    assert (8, 8) == np.shape(found["tiles"])
    mean = round(255 * DIGITS["image"]["mean"][0])
    for row, column in ((0, 0), (3, 5), (7, 7)):
        painted = pixels.copy()
        painted[row, column] = mean
        (other,) = scorer.answers([{"image": painted[..., None]}])
        expected = answer["probability"] - other["probabilities"][answer["class"]]
        assert pytest.approx(expected, abs=1e-7) == found["tiles"][row][column]


def test_larger_images_have_eight_by_eight_tiles(tmp_path):
    """Of as many pixels as it takes."""
    state = DIGITS | {
        "image": DIGITS["image"] | {"shape": [20, 30, 1]},
        "data": {**DIGITS["data"], "image_size": [20, 30]},
    }
    scorer = Scorer(write_model(tmp_path / "large", state))
    _, found = explained(scorer, {"image": png(90, (30, 20))})
    assert (8, 8) == np.shape(found["tiles"])


def test_channels_and_stretches_of_a_series_take_the_mean_of_its_own_scale(scorers):
    """The value is the mean over the steps ahead; one of the two series has a mean unlike that of both."""
    scorer = scorers["hours"]
    record = example_record(scorer.state)
    record["series"] = np.random.default_rng(0).normal(10, 3, np.shape(record["series"])).tolist()
    answer, found = explained(scorer, record)
    target, values = next(iter(answer["values"].items()))
    assert pytest.approx(np.mean(values)) == found["value"]
    assert target in found["of"]
    means = scorer.state["series"]["of_series"][record["id"]]["mean"]
    assert np.abs(np.subtract(means, scorer.state["series"]["mean"])).max() > 0.1
    names = scorer.state["series"]["channels"]
    assert names == list(found["channels"])
    changed = np.array(record["series"])
    changed[:, 1] = means[1]
    (other,) = scorer.answers([{**record, "series": changed.tolist()}])
    assert pytest.approx(np.mean(values) - np.mean(other["values"][target])) == found["channels"][names[1]]
    first, last, less = found["stretches"][-1]
    changed = np.array(record["series"])
    changed[first : last + 1] = means
    (other,) = scorer.answers([{**record, "series": changed.tolist()}])
    assert pytest.approx(np.mean(values) - np.mean(other["values"][target])) == less


def test_a_new_series_takes_the_mean_of_all_and_a_whole_one_its_own(scorers):
    """As each is brought to scale: a step of means becomes 0."""
    state = scorers["hours"].state
    record = {**example_record(state), "id": "new", "pooled_scale": True}
    assert state["series"]["mean"] == means_read(record, state).tolist()
    steps = {"series": [[1, None, 4], [3, None, 5]]}
    whole = {**state["series"], "of_series": {}, "pooled": []}
    means = means_read(steps, {"series": whole})
    assert [2, state["series"]["mean"][1], 4.5] == means.tolist()
    with_means = np.vstack([np.array(steps["series"], np.float32), means.astype(np.float32)])
    assert pytest.approx([0, 0, 0], abs=1e-6) == scaler_of(whole).transform_whole(with_means)[-1]
    assert state["series"]["mean"] == means_read(steps, {"series": {**whole, "scaling": "channel"}}).tolist()


def test_only_the_steps_that_are_read_are_cut_into_stretches(scorers):
    """Of 103 steps a model reads the last 3: each is a stretch of its own, at its place in the record."""
    scorer = scorers["regression"]
    record = example_record(scorer.state)
    random = np.random.default_rng(0)
    record["series"] = random.normal(10, 3, (103, len(record["series"][0]))).tolist()
    _, found = explained(scorer, record)
    assert [(100, 100), (101, 101), (102, 102)] == [
        (first, last) for first, last, _less in found["stretches"]
    ]
    assert all(less for _first, _last, less in found["stretches"])


def test_of_an_averaged_alarm_the_windows_before_are_read_too(tmp_path):
    """Four windows, every second step, of 3 steps each: 9 steps, and the value is the score that makes the alarm."""
    model = served_model("anomaly", tmp_path).named.folder
    card = json.loads((model / "card.json").read_text())
    card |= {"alarms": {"smoothing_steps": 4, "stride": 2}, "operating_point": {"thresholds": {"": 0.5}}}
    (model / "card.json").write_text(json.dumps(card))
    scorer = Scorer(model)
    record = example_record(scorer.state)
    record["series"] = np.random.default_rng(0).normal(10, 3, (50, len(record["series"][0]))).tolist()
    answer, found = explained(scorer, record)
    assert ("score, an alarm above 1", answer["score"]) == (found["of"], found["value"])
    assert list(range(41, 50)) == [first for first, _last, _less in found["stretches"]]
    changed = [list(step) for step in record["series"]]
    changed[41] = scorer.state["series"]["mean"]
    (other,) = scorer.answers([{**record, "series": changed}])
    assert pytest.approx(answer["score"] - other["score"]) == found["stretches"][0][2]
    assert found["stretches"][0][2]
    assert range(1, 6) == scorer.steps_read(6)
    assert range(3) == scorer.steps_read(3)


def test_of_a_whole_series_the_first_steps_are_read(scorers):
    """Those behind the longest of training are not."""
    whole = object.__new__(Scorer)
    whole.state = {"series": {"max_length": 7}}
    assert range(7) == whole.steps_read(100)
    assert range(4) == whole.steps_read(4)


@pytest.mark.parametrize("name", NAMES)
def test_every_kind_of_model_can_be_asked_and_shown(scorers, name):
    """The example of each; the page names it and holds every part."""
    scorer = scorers[name]
    record = example_record(scorer.state)
    answer, found = explained(scorer, record)
    assert found["value"] == said_of(answer)[1]
    assert {"words", "tiles", "channels", "stretches", "side"} & set(found)
    json.dumps(found, allow_nan=False)
    page = explained_page("digits", [("<b>1", record, found)], scorer.state)
    assert "&lt;b&gt;1" in page
    assert "<b>1" not in page
    assert page.count("<rect") == sum(len(row) for row in found.get("tiles", ()))


def test_a_text_of_thousands_of_words_is_taken_away_some_at_a_time(scorers):
    """64 questions at most, which hold every word once."""
    words = [f"w{number}" for number in range(1000)]
    _, found = explained(scorers["spam"], {"text": " ".join(words)})
    assert 64 == len(found["words"])
    assert words == " ".join(text for text, _less in found["words"]).split()
    assert "words" not in explained(scorers["spam"], {"text": " "})[1]


def test_a_text_without_blanks_is_one_word_unless_the_model_reads_characters(scorers, tmp_path):
    """Then each sign of a script without blanks is a part; Latin words stay whole."""
    text = "我爱 Ulm咖啡"
    assert ["我爱", "Ulm咖啡"] == [
        word for word, _less in explained(scorers["spam"], {"text": text})[1]["words"]
    ]
    state = scorers["spam"].state
    state = {**state, "text": {**state["text"], "tokens": {**state["text"]["tokens"], "unit": "characters"}}}
    scorer = Scorer(write_model(tmp_path / "characters", state))
    answer, found = explained(scorer, {"text": text})
    assert ["我", "爱", "Ulm", "咖", "啡"] == [word for word, _less in found["words"]]
    (other,) = scorer.answers([{"text": "我爱 Ulm啡"}])
    expected = answer["probability"] - other["probabilities"][answer["class"]]
    assert pytest.approx(expected) == found["words"][3][1]


def test_what_an_earlier_call_said_of_the_answers_goes_with_them(tmp_path):
    """Explanations and scores of older answers do not lie beside new ones."""
    model = served_model("spam", tmp_path / "spam").named.folder
    records = tmp_path / "records.csv"
    records.write_text("id,text,label\na,win a prize,spam\nb,see you,ham\n")
    called = ["predict", str(model), str(records), "--id", "id", "--out", str(tmp_path / "answers.csv")]
    cli.main([*called, "--explain", "1", "--labels", str(records)])
    made = {
        "answers.csv",
        "answers.csv.explained.html",
        "answers.csv.explained.jsonl",
        "answers.csv.scores.json",
    }
    assert made == {path.name for path in tmp_path.glob("answers*")}
    cli.main(called)
    assert {"answers.csv"} == {path.name for path in tmp_path.glob("answers*")}


def test_predict_explains_the_first_answers_beside_its_file(scorers, tmp_path, capsys):
    """Refused records do not count; without a file for the answers there is no place."""
    model = served_model("spam", tmp_path / "spam").named.folder
    records = tmp_path / "records.jsonl"
    records.write_text('{"text": "win a prize"}\n{"text": 3}\n{"text": "see you"}\n{"text": "home"}\n')
    called = ["predict", str(model), str(records), "--explain", "2", "--max-refused", "1"]
    with pytest.raises(SystemExit) as ended:
        cli.main(called)
    assert 64 == ended.value.code
    assert "Explanations lie beside the answers" in capsys.readouterr().err
    cli.main([*called, "--out", str(tmp_path / "answers.csv")])
    lines = [json.loads(line) for line in (tmp_path / "answers.csv.explained.jsonl").read_text().splitlines()]
    assert [("00000000", 3), ("00000002", 2)] == [(line["id"], len(line["words"])) for line in lines]
    page = (tmp_path / "answers.csv.explained.html").read_text()
    assert ">prize</span>" in page
    assert ">home</span>" not in page

"""What an answer rests on is what asking without a part says, for every kind of record."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from pipeline import cli
from pipeline.serving.described import example_record
from pipeline.serving.explain import Explainer, explained_page, said_of
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
    from pipeline.serving.scorer import Scorer

    scorer = Scorer(write_model(tmp_path / "large", state))
    _, found = explained(scorer, {"image": png(90, (30, 20))})
    assert (8, 8) == np.shape(found["tiles"])


def test_channels_and_stretches_of_a_series_take_the_mean_of_training(scorers):
    """The value is the mean over the steps ahead; what is known beside counts too."""
    scorer = scorers["hours"]
    record = example_record(scorer.state)
    record["series"] = np.random.default_rng(0).normal(10, 3, np.shape(record["series"])).tolist()
    answer, found = explained(scorer, record)
    target, values = next(iter(answer["values"].items()))
    assert pytest.approx(np.mean(values)) == found["value"]
    assert target in found["of"]
    means = scorer.state["series"]["mean"]
    names = scorer.state["series"]["channels"]
    assert names == list(found["channels"])
    changed = np.array(record["series"])
    changed[:, 1] = means[1]
    (other,) = scorer.answers([{**record, "series": changed.tolist()}])
    assert pytest.approx(np.mean(values) - np.mean(other["values"][target])) == found["channels"][names[1]]
    covered = [step for first, last, _less in found["stretches"] for step in range(first, last + 1)]
    assert list(range(len(record["series"]))) == covered
    first, last, less = found["stretches"][-1]
    changed = np.array(record["series"])
    changed[first : last + 1] = means
    (other,) = scorer.answers([{**record, "series": changed.tolist()}])
    assert pytest.approx(np.mean(values) - np.mean(other["values"][target])) == less


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

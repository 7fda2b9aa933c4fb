"""What `check` says of members that cannot answer together, all of it at once."""

import msgspec
import pytest

from pipeline.checks.contradictions import contradictions
from pipeline.params.sections import Choice, TuneOverride
from tests.checks.test_rules import example, source


def problems(name, kind, members, **changes):
    """Return what is refused of an example with an ensemble."""
    params = example(name)
    params = msgspec.structs.replace(
        params,
        select=msgspec.structs.replace(params.select, ensemble=members and tuple(members)),
        register=msgspec.structs.replace(params.register, model_name="own"),
        **changes,
    )
    return contradictions(params, source(kind))


def test_candidates_that_look_at_a_sample_are_members():
    """Networks on pixels; a baseline that learns beside one; features or n-grams beside what is read raw; none."""
    assert problems("digits", "digits", ["cnn", "rnn", "autoencoder"]) == []
    assert problems("digits", "digits", ["cnn", "linear"]) == []
    assert problems("sms-spam", "text_table", ["dense", "linear"]) == []
    assert problems("digits", "digits", ["cnn", "dense"]) == []
    assert problems("sms-spam", "text_table", ["rnn", "linear"]) == []
    assert problems("digits", "digits", None) == []


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (["cnn"], "needs two members or more"),
        ([], "needs two members or more"),
        (["cnn", "cnn"], "names cnn twice"),
        (
            ["cnn", "cnnn"],
            "names cnnn, which is no candidate. Expected some of cnn, rnn, autoencoder, dense, linear.",
        ),
        (["cnn", "majority"], "names majority, which answers without looking at the sample"),
    ],
)
def test_members_that_cannot_be_averaged_are_named(members, message):
    """With what was received, and what could be."""
    found = problems("digits", "digits", members)
    assert any(message in problem for problem in found)
    assert all(problem.startswith("params.yaml: select.ensemble") for problem in found)


def test_all_that_is_wrong_with_members_comes_at_once():
    """A name that is unknown, one twice, and a baseline that is blind: three messages."""
    found = problems("digits", "digits", ["cnn", "cnn", "dense", "majority", "nobody"])
    assert 3 == len(found)


def test_no_candidate_has_the_name_of_the_ensemble():
    """Two folders of one name would be one."""
    candidates = example("digits").candidates
    taken = {"ensemble": candidates["cnn"], **candidates}
    found = problems("digits", "digits", ["cnn", "rnn"], candidates=taken)
    assert [
        "candidates.ensemble has the name of what select.ensemble makes" in problem for problem in found
    ] == [True]
    assert problems("digits", "digits", None, candidates=taken) == []


def test_detectors_of_anomalies_are_not_averaged():
    """Their errors would not be."""
    found = problems("nab", "series_table", ["autoencoder", "pca"])
    assert [True] == ["no meaning for task anomaly" in problem for problem in found]


@pytest.mark.parametrize("place", ["training", "space"])
def test_mirrored_images_are_asked_of_all_members_or_of_none(place):
    """One model is asked for them, or is not; a search may not decide otherwise. Who reads no image is free."""
    candidates = dict(example("digits").candidates)
    changes = (
        {"training": {**candidates["cnn"].training, "test_time_flip": True}}
        if place == "training"
        else {"tune": TuneOverride(space={"training.test_time_flip": Choice(values=(True, False))})}
    )
    candidates["cnn"] = msgspec.structs.replace(candidates["cnn"], **changes)
    found = problems("digits", "digits", ["cnn", "rnn"], candidates=candidates)
    assert any("training.test_time_flip alike" in problem for problem in found)
    assert problems("digits", "digits", ["cnn", "dense"], candidates=candidates) == []

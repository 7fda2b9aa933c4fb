"""What `check` knows because `millrace init` learnt it: each contradiction is one message with the line to change."""

import msgspec
import pytest

from pipeline.checks.contradictions import contradictions
from pipeline.fetching.source import Facts
from tests.checks.test_rules import KIND_OF, example, source

PICTURES = Facts(
    classes={"hat": 60, "cap": 40}, num_classes=2, image_channels=[3], height=(64, 64, 64), width=(64, 64, 64)
)
SPLITS = {"train": 60, "val": 20, "test": 20}
WHOLE = Facts(
    classes={"a": 50, "b": 50},
    num_classes=2,
    channels=["x"],
    length=(9, 10, 11),
    splits={"train": 1, "test": 1},
)
LOAD = Facts(channels=["HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT"], length=(9000, 9000, 9000))


def own(params):
    """Return parameters with a model name that no example has."""
    return msgspec.structs.replace(
        params, register=msgspec.structs.replace(params.register, model_name="own")
    )


def said(name, facts, **sections):
    """Return what is said of an example's parameters because of these facts, beyond what is said anyway."""
    params, known = own(example(name, **sections)), source(KIND_OF[name])
    without = contradictions(params, known)
    return [
        problem
        for problem in contradictions(params, msgspec.structs.replace(known, facts=facts))
        if problem not in without
    ]


def test_samples_without_an_answer_may_not_be_more_than_ingest_rejects():
    """Two seconds, not minutes: the share that `unlabelled=reject` counts against is known."""
    params = example("sms-spam")
    known = msgspec.structs.replace(
        source("text_table"), count=980, unlabelled=20, options={"unlabelled": "reject"}, facts=Facts()
    )
    (problem,) = [said for said in contradictions(params, known) if "samples without an answer" in said]
    assert "Expected at most 0.01 of 1,000. Received: 20" in problem
    for change in ({"unlabelled": 9}, {"options": {"unlabelled": "leave_out"}}):
        changed = msgspec.structs.replace(known, **change)
        assert not [said for said in contradictions(params, changed) if "without an answer" in said]


@pytest.mark.parametrize(
    ("name", "facts", "sections", "part"),
    [
        ("clothing", PICTURES, {}, "split.method=given needs a source that says what each sample is for"),
        ("clothing", msgspec.structs.replace(PICTURES, splits={"train": 80, "": 20}), {}, "20 of 10,000 samples without one"),
        ("sms-spam", Facts(classes={"ham": 9, "junk": 1}, num_classes=2), {}, "Received: positive_class='spam'. Correct it"),
        ("sms-spam", Facts(classes={"ham": 9, "spam": 1, "x": 1}, num_classes=3), {}, "Set it to null"),
        ("sms-spam", Facts(targets=100), {"data": {"positive_class": None}}, "data.task=classification needs two classes"),
        ("japanese-vowels", WHOLE, {"split": {"method": "group"}}, "split.method=group needs groups"),
        ("japanese-vowels", WHOLE, {"split": {"method": "time"}}, "split.method=time needs a time for each sample"),
        ("etth1", msgspec.structs.replace(LOAD, channels=["load"]), {}, "data.windows.targets names columns"),
        ("etth1", LOAD, {"data.windows": {"known": ("sun",)}}, "data.windows.known names columns"),
        ("etth1", msgspec.structs.replace(LOAD, length=(400, 400, 400)), {}, "need 432 steps"),
        ("clothing", msgspec.structs.replace(PICTURES, splits=SPLITS, width=(60, 64, 70)),
         {"data": {"image_size": None}}, "Set data.image_size: [64, 64]"),
        ("clothing", msgspec.structs.replace(PICTURES, splits=SPLITS, image_channels=[1, 3]),
         {"data": {"channels": None}}, "data.channels is null"),
        ("japanese-vowels", WHOLE, {"register": {"slices": ("site",), "slice_tolerance": 0.1}},
         "register.slices names columns"),
    ],
)  # fmt: skip
def test_a_contradiction_with_the_data_is_refused_before_anything_runs(name, facts, sections, part):
    """In one message that names the setting."""
    problems = said(name, facts, **sections)
    assert 1 == len(problems)
    assert part in problems[0]
    assert problems[0].startswith("params.yaml: ")


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("clothing", msgspec.structs.replace(PICTURES, splits=SPLITS)),
        ("sms-spam", Facts(classes={"ham": 9, "spam": 1}, num_classes=2)),
        ("japanese-vowels", WHOLE),
        ("etth1", LOAD),
        ("etth1", None),
        ("clothing", None),
    ],
)
def test_what_fits_is_not_mentioned_and_old_files_say_nothing(name, facts):
    """A data/source.json without facts is as good as ever."""
    assert [] == said(name, facts)


@pytest.mark.parametrize(
    ("few", "sections", "part"),
    [
        (
            {"hat": 2},
            {},
            "Received: 2 of class 'hat'. Say who is where in a column (--set split=COLUMN), bring more",
        ),
        ({"hat": 2, "cap": 1}, {}, "2 of class 'hat', 1 of class 'cap'"),
    ],
)
def test_classes_of_too_few_groups_cannot_be_split_by_group(few, sections, part):
    """Train, val and test need one each; three are enough for the rule, and other ways to split do not ask."""
    facts = msgspec.structs.replace(PICTURES, groups=9, few_groups=few)
    split = {"method": "group", "val_share": 0.2, "test_share": 0.2, "salt": "s"}
    (problem,) = [
        one for one in said("clothing", facts, split=split, **sections) if "cannot put every" in one
    ]
    assert part in problem
    assert not [
        one
        for one in said("clothing", msgspec.structs.replace(facts, few_groups={}), split=split)
        if "put every" in one
    ]
    stratified = split | {"method": "stratified"}
    assert not [one for one in said("clothing", facts, split=stratified) if "put every" in one]

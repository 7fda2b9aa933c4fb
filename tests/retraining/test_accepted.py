"""A source that rots a little every night is compared with the data that somebody vouches for, not only with yesterday."""

import json

import numpy as np
import pandas as pd
import pytest

from pipeline.retraining import retrain
from pipeline.retraining.accepted import DESCRIBED, accepted_data, bring
from pipeline.retraining.retrain import Wishes
from pipeline.runtime import paths
from pipeline.runtime.errors import DataRefused, StorageFailed
from pipeline.runtime.files import read_json, read_lines
from tests.helpers.dvc_objects import put_object
from tests.helpers.fake_project import FakeChildren, git, make_project, settings

KNOWN = 1000


class WithRows(FakeChildren):
    """Its `validate` describes the rows of `labels` and `lengths`, puts that into DVC's cache and names it in dvc.lock."""

    labels = ("ham",) * 850 + ("spam",) * 150
    lengths = tuple(np.random.default_rng(0).normal(80, 10, KNOWN))

    def _validate(self):
        ids = [f"s{number}" for number in range(len(self.labels))]
        samples = {"sample_id": ids, "row": range(len(ids)), "content_sha256": ids, "label": self.labels}
        tables = ({"sample_id": ids, "length": self.lengths}, samples)
        outs = []
        for path, table in zip(sorted(DESCRIBED, reverse=True), tables, strict=True):
            place = self.tree / path
            place.parent.mkdir(parents=True, exist_ok=True)
            pd.DataFrame(table).to_parquet(place)
            outs.append({"path": path.as_posix(), "md5": put_object(self.project, place.read_bytes())})
        # No pictures: the shape of texts and series.
        np.save(self.tree / paths.PAYLOAD_NPY, np.zeros(1, np.uint8))
        super()._validate()
        lock_path = self.tree / "dvc.lock"
        lock = json.loads(lock_path.read_text())
        lock["stages"]["validate"]["outs"] = outs
        lock_path.write_text(json.dumps(lock))

    def rot(self, rng):
        """Give 9 % of the first rows another label, and add 29 rows of noise."""
        other = {"ham": "spam", "spam": "ham"}
        flips = rng.random(KNOWN) < 0.09
        first = [other[label] if flip else label for label, flip in zip(self.labels, flips, strict=False)]
        self.labels = (*first, *self.labels[KNOWN:], *["spam"] * 29)
        self.lengths = (*self.lengths, *[5000.0] * 29)
        self.rows = len(self.labels)


@pytest.fixture
def children(tmp_path, monkeypatch):
    """A committed project without results."""
    folder = make_project(tmp_path / "project")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MILLRACE_HOME", raising=False)
    return WithRows(folder)


def night(children, **wishes):
    """Run one retrain."""
    return retrain.retrain(children, settings(), Wishes(**wishes))


def accepted(children):
    """Return the data that the next night is compared with."""
    return accepted_data(children, "main", git(children.project, "rev-parse", "main"))


def test_a_source_that_rots_below_every_bound_is_refused_once_it_has_rotted_beyond_them(children):
    """9 % other labels and 29 rows of noise pass a bound of 10 % and of 30 rows, but not twice."""
    assert night(children)["outcome"] == "promoted"
    rng = np.random.default_rng(1)
    children.rot(rng)
    assert night(children)["outcome"] == "promoted"
    children.rot(rng)
    with pytest.raises(DataRefused) as error:
        night(children)
    said = str(error.value)
    assert "of the last results" not in said
    assert "against the data accepted on" in said
    assert "the first results. Expected a share of at most 0.1 (drift.max_lost_share)." in said
    assert "length: differs by 1.00" in said
    since = read_lines(paths.HISTORY)[-1]["drift"]["since"]
    assert (since["new_rows"], since["verdict"]) == (58, "refuse")


def test_drift_that_was_accepted_is_what_later_nights_are_compared_with(children):
    """The reason stands where it is committed, and the same rows are not refused again."""
    night(children)
    rng = np.random.default_rng(1)
    for _ in range(4):
        children.rot(rng)
    with pytest.raises(DataRefused):
        night(children)
    assert night(children, accept_drift="the new provider")["outcome"] == "promoted"
    assert accepted(children).what.endswith(": the new provider")
    children.rot(rng)
    assert night(children)["outcome"] == "promoted"
    committed = json.loads(git(children.project, "show", f"retrain/main:{paths.ACCEPTED_JSON.as_posix()}"))
    assert (committed["reason"], len(committed["files"])) == ("the new provider", 2)


def test_whoever_merges_the_results_vouches_for_their_data(children):
    """And so does whoever commits results of their own: the last look of a person counts."""
    night(children)
    rng = np.random.default_rng(1)
    children.rot(rng)
    night(children)
    git(children.project, "merge", "-q", "--no-edit", "retrain/main")
    children.rot(rng)
    assert night(children)["outcome"] == "promoted"
    assert accepted(children).what == "the data of main"


def test_before_there_are_results_nothing_is_accepted(children):
    """The first training has nothing to be compared with, and becomes what later ones are compared with."""
    retrain.worktree.prepare(children, retrain.worktree.followed(children, None, publish=False))
    assert accepted(children) is None
    night(children)
    assert accepted(children).what.endswith(": the first results")


def test_accepted_data_that_is_gone_is_unknown_and_not_none(children):
    """Somebody emptied the cache of all but the last results: exit code 65, and which data is missing."""
    night(children)
    children.rot(np.random.default_rng(1))
    night(children)
    md5 = accepted(children).files[paths.SAMPLES_PARQUET]
    (children.project / ".dvc/cache/files/md5" / md5[:2] / md5[2:]).unlink()
    children.rot(np.random.default_rng(2))
    with pytest.raises(DataRefused, match=r"Received: the data accepted on .* is not in DVC's cache"):
        night(children)


def test_a_remote_is_asked_for_what_dvc_lock_no_longer_names(children, monkeypatch):
    """For the time of `dvc fetch` dvc.lock names the accepted data; afterwards it is as it was."""
    night(children)
    lock_path = children.tree / "dvc.lock"
    before = lock_path.read_bytes()
    (children.tree / ".dvc/config").write_text(
        "[core]\n    remote = r\n['remote \"r\"']\n    url = /nowhere\n"
    )
    named = {}

    def fetch(*arguments):
        stages = read_json(lock_path)["stages"].values()
        named.update({out["path"]: out["md5"] for stage in stages for out in stage.get("outs", [])})

    monkeypatch.setattr(children, "dvc", fetch)
    wanted = {path: letter * 32 for path, letter in zip(DESCRIBED, "ab", strict=True)}
    assert bring(children, wanted) == dict.fromkeys(DESCRIBED)
    assert named == {path.as_posix(): md5 for path, md5 in wanted.items()}
    assert lock_path.read_bytes() == before


@pytest.mark.parametrize(("rolling", "refused"), [(False, True), (True, False)])
def test_a_source_that_keeps_its_last_weeks_may_say_so(children, rolling, refused):
    """5 % of the rows leave each night and others like them come: after three nights 15 % of the first ones are gone."""
    bounds = settings().drift
    found = {"new_rows": 50, "lost_rows": 50, "lost_share": 0.05, "verdict": "none", "skipped": []}
    since = {**found, "lost_rows": 150, "lost_share": 0.15, "data": "the data of main"}
    looked = {"drift": {**found, "since": since}}
    bounds = retrain.triggers.DriftBounds(
        bounds.significance, bounds.report, bounds.refuse, bounds.min_rows, bounds.max_lost_share, rolling
    )
    if refused:
        with pytest.raises(
            DataRefused, match=r"lost 150 known rows, against the data of main.*drift\.rolling: true"
        ):
            retrain.refuse_drifted_data(looked, bounds, Wishes())
    else:
        assert retrain.refuse_drifted_data(looked, bounds, Wishes()) == {"accepted_drift": ""}


@pytest.mark.parametrize("content", ["<<<<<<< HEAD\n{}\n", "{}", "[]"])
def test_a_note_that_cannot_be_read_is_not_taken_for_none(children, content):
    """The marks of a merge, or what a person left of it: exit code 74, and how to go on."""
    night(children)
    (children.tree / paths.ACCEPTED_JSON).write_text(content)
    with pytest.raises(
        StorageFailed, match=r"does not say which data is accepted.*the data of main counts then"
    ):
        accepted(children)

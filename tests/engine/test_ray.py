"""Jobs on a Ray cluster end as they do here."""

import functools
from pathlib import Path

import pytest
import yaml

from pipeline.engine.ray import Ray
from pipeline.tuning.trials import Rung, TrialOutcome
from pipeline.tuning.workers import TrialWorkers
from tests.helpers.fake_trials import open_fake
from tests.helpers.ray_cluster import ROOT, cluster

SAMPLED = {"training.learning_rate": 0.01, "model.units": 16}


@pytest.mark.ray
@pytest.mark.long
def test_a_trial_on_a_cluster_ends_as_it_does_here(tmp_path: Path) -> None:
    """Start, trials that end well, raise, are killed once and for ever, stop: with one machine and the same outcomes."""
    behaviour = {"2": "raise", "3": "kill once", "4": "kill"}
    opener = functools.partial(open_fake, tmp_path / "log.txt", 0.0)

    def outcomes(folder: Path, engine: Ray | None) -> list[TrialOutcome]:
        rungs = [
            Rung(number, SAMPLED, {"behaviour": behaviour}, 5, folder / str(number))
            for number in (1, 2, 3, 4)
        ]
        with TrialWorkers(opener, num_workers=1, trial_limit_seconds=20.0, engine=engine) as workers:
            return workers(rungs, lambda _rung, _outcome: None)

    with cluster(nodes=1) as found:
        there = outcomes(tmp_path / "there", Ray(found.address))
    here = outcomes(tmp_path / "here", None)
    assert ["", "ValueError: units must fit.", "", "the process was killed by SIGKILL (out of memory?)"] == [
        outcome.error for outcome in there
    ]
    assert [(one.score, one.metrics, one.error) for one in here] == [
        (one.score, one.metrics, one.error) for one in there
    ]
    assert {path.relative_to(tmp_path / "here") for path in (tmp_path / "here").rglob("*")} == {
        path.relative_to(tmp_path / "there") for path in (tmp_path / "there").rglob("*")
    }


def test_the_manifest_asks_for_the_version_that_is_locked():
    """Client and cluster must be of one version of Ray; the token is on."""
    spec = yaml.safe_load((ROOT / "examples/cluster/raycluster.yaml").read_text())["spec"]
    lock = (ROOT / "requirements.lock").read_text()
    assert f"\nray=={spec['rayVersion']} " in lock
    assert {"mode": "token"} == spec["authOptions"]

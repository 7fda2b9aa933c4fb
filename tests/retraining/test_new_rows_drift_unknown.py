"""Drift and lost rows that nothing can be compared with: unknown is not none."""

import json

import pandas as pd
import pytest

from pipeline.retraining import retrain
from pipeline.retraining.retrain import Wishes
from pipeline.runtime import paths
from pipeline.runtime.errors import DataRefused, ServiceDown
from pipeline.runtime.files import read_lines
from pipeline.runtime.paths import HISTORY
from tests.helpers.fake_project import FakeChildren, git, make_project, settings

FILES = (paths.SAMPLES_PARQUET, paths.STATISTICS_PARQUET)


class WithRows(FakeChildren):
    """Its `validate` writes rows, and its dvc.lock says where they were; DVC's cache never holds them."""

    def repro(self, target):
        """Write what the stages would."""
        super().repro(target)
        if target == "validate":
            ids = [str(number) for number in range(self.rows)]
            for path in FILES:
                (self.tree / path).parent.mkdir(parents=True, exist_ok=True)
            rows = {"sample_id": ids, "row": range(self.rows), "content_sha256": ids}
            pd.DataFrame(rows).to_parquet(self.tree / FILES[0])
            pd.DataFrame({"sample_id": ids}).to_parquet(self.tree / FILES[1])

    def _evaluate(self):
        super()._evaluate()
        lock_path = self.tree / "dvc.lock"
        lock = json.loads(lock_path.read_text())
        lock["stages"]["evaluate"]["outs"] = [{"path": path.as_posix(), "md5": "ab" * 16} for path in FILES]
        lock_path.write_text(json.dumps(lock))


@pytest.fixture
def children(tmp_path, monkeypatch):
    """A committed project whose data of the last results nobody has any more."""
    folder = make_project(tmp_path / "project")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MILLRACE_HOME", raising=False)
    return WithRows(folder)


def test_data_that_cannot_be_compared_is_refused_unless_accepted_with_a_reason(children):
    """Ten rows of a hundred are left, and the hundred are gone from the cache: exit code 65, said why and what to do."""
    assert retrain.retrain(children, settings(), Wishes())["outcome"] == "promoted"
    children.rows = 10
    with pytest.raises(DataRefused, match=r"is not in DVC's cache.*--accept-drift") as error:
        retrain.retrain(children, settings(), Wishes())
    assert error.value.exit_code == 65
    entry = read_lines(HISTORY)[-1]
    assert (entry["outcome"], entry["drift"]["verdict"]) == ("data_refused", "unknown")
    accepted = retrain.retrain(children, settings(), Wishes(accept_drift="the disk of the cache died"))
    assert (accepted["outcome"], accepted["accepted_drift"]) == ("promoted", "the disk of the cache died")


def test_a_dvc_remote_that_does_not_give_the_data_is_a_service_that_is_down(children):
    """dvc fetch ends with 0 also where nobody answers: exit code 69, asked again tomorrow, and no advice to look away."""
    config = "[core]\n    remote = r\n['remote \"r\"']\n    url = http://127.0.0.1:9/x\n"
    (children.project / ".dvc/config").write_text(config)
    git(children.project, "commit", "-qam", "a remote")
    assert retrain.retrain(children, settings(), Wishes())["outcome"] == "promoted"
    children.rows = 10
    with pytest.raises(ServiceDown, match=r"nor from its remote.*If the remote is down"):
        retrain.retrain(children, settings(), Wishes())
    assert "dvc fetch" in children.calls


def test_a_first_training_has_nothing_to_be_compared_with(children, capsys):
    """There never was a result: it passes, and the reason is said."""
    assert retrain.retrain(children, settings(), Wishes())["outcome"] == "promoted"
    assert "no results yet to compare with" in capsys.readouterr().out

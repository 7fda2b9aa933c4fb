"""Trials whose training is shared by several processes."""

from contextlib import contextmanager

import pytest

from pipeline.runtime.errors import Busy, UserError
from pipeline.training import workers
from pipeline.tuning.trials import Rung, open_training
from tests.helpers.train_project import MODELS, TRAINING, write_train_project


@pytest.mark.parametrize(
    ("code", "expected"), [(66, OSError), (74, OSError), (77, OSError), (70, UserError), (65, UserError)]
)
def test_files_that_fail_at_another_process_stop_the_search_and_are_no_trial_s_fault(
    tmp_path, monkeypatch, code, expected
):
    """What is an OSError with one process stops every trial with several as well; the rest is the settings' fault."""
    failed = UserError("Rank 1 of 2 failed")
    failed.exit_code = code

    @contextmanager
    def failing(train, training, threads):
        def together(*what, **settings):
            raise failed

        yield together

    monkeypatch.setattr(workers, "training_with", failing)
    write_train_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    run_rung = open_training("dense", seed=7, threads=2)
    training = TRAINING | {"workers": 2}
    with pytest.raises(expected, match="Rank 1 of 2 failed"):
        run_rung(Rung(1, {}, {"model": MODELS["dense"], "training": training}, 1, tmp_path / "rung"))


def test_a_killed_process_of_a_trial_is_a_crash_and_no_fault_of_its_settings(tmp_path, monkeypatch):
    """The worker ends, as if it had been killed itself, so that the search tries the rung again; all share its threads."""
    asked = []

    @contextmanager
    def killed(train, training, threads):
        asked.append((training["workers"], threads))

        def together(*what, **settings):
            raise Busy("Rank 1 of 2 was killed")

        yield together

    monkeypatch.setattr(workers, "training_with", killed)
    write_train_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    run_rung = open_training("dense", seed=7, threads=2)
    rung = Rung(
        1, {}, {"model": MODELS["dense"], "training": TRAINING | {"workers": 2}}, 1, tmp_path / "rung"
    )
    for _ in range(2):
        with pytest.raises(SystemExit) as ended:
            run_rung(rung)
        assert 75 == ended.value.code
    assert [(2, 2)] == asked, "they live for all rungs of the process"

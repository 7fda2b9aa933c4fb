"""What a search says is complete, and the same each time."""

from pathlib import Path

from pipeline.tuning.trials import (
    Rung,
    Trial,
    TrialOutcome,
    all_failed,
    baseline_row,
    failed,
    line,
    search_summary,
    trial_row,
)

SAMPLED = {"training.learning_rate": 0.00123456, "model.units": 32}
BASELINE = baseline_row({"model.units": 64}, {"val_loss": 0.5, "val_accuracy": 0.8}, 30, "val_loss")
BETTER = Trial(
    1, SAMPLED, "complete", [(10, 0.6), (30, 0.4)], TrialOutcome(0.4, {"val_loss": 0.4}, 30, finished=True)
)
FAILED = Trial(2, SAMPLED, "failed", [(10, 0.7)], failed("the process was killed by SIGKILL"))


def test_a_row_holds_what_became_of_a_trial() -> None:
    """Number, settings, state, scores per rung, best metrics, epochs; and no time of day."""
    assert trial_row(BETTER) == {
        "number": 1,
        "settings": SAMPLED,
        "state": "complete",
        "rungs": [{"epochs": 10, "score": 0.6}, {"epochs": 30, "score": 0.4}],
        "metrics": {"val_loss": 0.4},
        "epochs": 30,
        "error": "",
    }


def test_a_failed_trial_keeps_its_earlier_rungs_and_its_cause() -> None:
    """What the trial had reached before it failed is not lost."""
    row = trial_row(FAILED)
    assert (row["state"], row["epochs"], row["rungs"]) == ("failed", 10, [{"epochs": 10, "score": 0.7}])
    assert row["error"] == "the process was killed by SIGKILL"


def test_one_line_per_rung() -> None:
    """A line names the trial, the epochs, the score or the cause, and the settings."""
    rung = Rung(3, SAMPLED, {}, 10, Path())
    settings = "training.learning_rate=0.001235, model.units=32"
    assert line("cnn", "val_loss", rung, TrialOutcome(0.25, {}, 8, finished=True), False) == (
        f"cnn trial 3, epoch 8: val_loss 0.2500 ({settings})"
    )
    assert line("cnn", "val_loss", rung, failed("diverged"), True) == (
        f"cnn trial 3, epoch 10: failed: diverged ({settings}, remembered)"
    )


def test_the_verdict_says_who_won() -> None:
    """Both scores stand there, and how many trials ended how."""
    rows = [BASELINE, trial_row(BETTER), trial_row(FAILED)]
    assert search_summary("cnn", "val_loss", rows, 1).startswith(
        "cnn: trial 1 is better, val_loss 0.5000 -> 0.4000"
    )
    assert search_summary("cnn", "val_loss", rows, 0) == (
        "cnn: baseline kept, val_loss 0.5000; trials: 1 complete, 0 pruned, 1 failed"
    )


def test_all_failed_gives_a_table_of_causes() -> None:
    """Each trial stands there with its cause, and the message ends with a way out."""
    message = all_failed("cnn", [trial_row(FAILED), {**trial_row(FAILED), "number": 3, "error": "diverged"}])
    assert "trial   2  the process was killed by SIGKILL" in message
    assert "trial   3  diverged" in message
    assert message.endswith("set candidates.cnn.tune.trials: 0.")

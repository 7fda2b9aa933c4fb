"""`pipeline.epoch_progress`: lines in logs, bars on terminals."""

import io

from rich.console import Console

from pipeline.epoch_progress import epoch_progress

PHASES = {"": 20, "pretrain_": 10}


def shown(**console):
    """Return what two epochs of two phases print."""
    output = io.StringIO()
    with epoch_progress(Console(file=output, width=200, **console), "cnn", PHASES) as show:
        show(3, {"pretrain_loss": 0.123456})
        show(4, {"loss": 0.5, "val_loss": 1e-5})
    return output.getvalue()


def test_one_line_per_epoch_in_a_log():
    """A log gets whole lines: name, epoch of how many in its phase, metrics."""
    expected = "cnn epoch 3/10 pretrain_loss=0.1235\ncnn epoch 4/20 loss=0.5 val_loss=1e-05\n"
    assert expected == shown()


def test_a_bar_on_a_terminal():
    """A terminal gets a bar per phase with the latest metrics."""
    text = shown(force_terminal=True)
    assert "cnn pretrain" in text
    assert "3/10" in text
    assert "4/20" in text
    assert "val_loss=1e-05" in text

"""retrain.yaml is read as strictly as params.yaml."""

from pathlib import Path

import pytest

from pipeline.retraining.triggers import load_settings
from pipeline.runtime.errors import ParamsError

ROOT = Path(__file__).resolve().parents[2]


def test_the_project_s_own_file_can_be_used():
    """And follows the branch that is checked out."""
    assert load_settings(ROOT / "retrain.yaml").branch is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("min_new_rows: 1 ", "min_new_row: 1 ", "Did you mean min_new_rows"),
        ("refuse: 0.5 ", "refuse: 0.1 ", "drift.report <= drift.refuse"),
        ("url: null", "url: ftp://x", "notify.url"),
        ("significance: 0.01", "significance: 0", "drift.significance"),
        ("max_age_days: 7.0", "max_age_days: soon", "max_age_days"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path, old, new, message):
    """With the key, what was expected and what was received."""
    text = (ROOT / "retrain.yaml").read_text()
    assert old in text
    (tmp_path / "retrain.yaml").write_text(text.replace(old, new))
    with pytest.raises(ParamsError, match=message):
        load_settings(tmp_path / "retrain.yaml")


def test_a_missing_file_is_told_with_the_fix(tmp_path):
    """It belongs to the project."""
    with pytest.raises(ParamsError, match="git checkout"):
        load_settings(tmp_path / "retrain.yaml")

"""Where a retrain keeps what belongs to this machine; relative to the project's root."""

from pipeline.runtime import paths

RETRAIN_DIR = paths.STATE_DIR / "retrain"
TREE = RETRAIN_DIR / "tree"
"""The working tree of its own, in which everything happens."""
JOURNAL = RETRAIN_DIR / "journal.jsonl"
"""What the present retrain has finished; replaced when another begins."""
HISTORY = RETRAIN_DIR / "history.jsonl"
HISTORY_HTML = RETRAIN_DIR / "history.html"
OUTBOX_DIR = RETRAIN_DIR / "outbox"
"""Notifications that nobody has taken yet."""

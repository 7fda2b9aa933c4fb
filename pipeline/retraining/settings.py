"""`retrain.yaml`: when to retrain, what drift is too much, whom to tell.

Not part of params.yaml, because nothing in it moves a number of a model: docs/decisions/0017.
"""

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from pipeline.params.sections import Count, Name, Positive, Section, Share
from pipeline.runtime.strict_yaml import ParamsError, convert, read_yaml

RETRAIN_YAML = Path("retrain.yaml")
Effect = Annotated[float, Meta(gt=0, le=1)]


class DriftBounds(Section, frozen=True):
    """From when on new rows count as different from the known ones."""

    significance: Annotated[float, Meta(gt=0, lt=0.5)]
    report: Effect
    refuse: Effect
    min_rows: Count
    """New rows below which nothing is compared."""
    max_lost_share: Share
    """Of the known rows that may be gone from the source."""


class Notify(Section, frozen=True):
    """Who is told how a retrain ended."""

    command: Name | None
    url: Annotated[str, Meta(pattern=r"^https?://")] | None
    timeout_seconds: Positive


class Retrain(Section, frozen=True):
    """The whole of retrain.yaml."""

    branch: Name | None
    min_new_rows: Count
    max_age_days: Positive
    push_attempts: Count
    drift: DriftBounds
    notify: Notify


def load_settings(path: Path = RETRAIN_YAML) -> Retrain:
    """Return the content of retrain.yaml.

    Raises:
        ParamsError: Something in it cannot be used, every problem at once; or there is no such file.
    """
    if not path.is_file():
        raise ParamsError(
            [f"{path} does not exist. Expected it beside params.yaml. `git checkout {path}` brings it back."]
        )
    settings = convert(read_yaml(path), Retrain, str(path))
    if settings.drift.report > settings.drift.refuse:
        problem = (
            f"{path}: what is refused must be at least as far off as what is reported. Expected drift.report "
            f"<= drift.refuse. Received: report={settings.drift.report}, refuse={settings.drift.refuse}. "
            "Raise one or lower the other."
        )
        raise ParamsError([problem])
    return settings

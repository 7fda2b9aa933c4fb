"""A model version by the name a person types, looked up without writing anything."""

import re
from pathlib import Path

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from pipeline.runtime import InputMissing, WronglyCalled
from pipeline.tracking.registry import CHAMPION, MODEL_SHA256, Version, aliases
from pipeline.tracking.store import SQLITE, Store, tracking_uri, without_password

FORM = re.compile(r"(?P<name>[^/@]+)(/(?P<number>[0-9]+)|@(?P<alias>[^/@]+))?")


def open_existing_store(root: Path) -> Store:
    """Return the store for reading; neither a database nor an experiment is made.

    Args:
        root: The project's folder.

    Raises:
        InputMissing: There is none.
    """
    uri = tracking_uri(root)
    if uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).is_file():
        raise InputMissing(
            f"There is no model registry. Expected {uri.removeprefix(SQLITE)}. Received: no such file. Set "
            "MLFLOW_TRACKING_URI to the store that has the model, or run `dvc repro`."
        )
    return Store(MlflowClient(uri), uri, "", "")


def named_version(store: Store, text: str) -> tuple[str, Version]:
    """Return the name of a model and the version meant.

    Args:
        store: Where it is looked up.
        text: `MODEL/VERSION`, `MODEL@ALIAS`, or `MODEL` for its champion.

    Raises:
        WronglyCalled: The text is of another form.
        InputMissing: There is no such version.
    """
    parts = FORM.fullmatch(text)
    if parts is None:
        raise WronglyCalled(
            f"That names no model version. Expected MODEL, MODEL/VERSION or MODEL@ALIAS. Received: {text!r}. "
            "`millrace report` shows the last one."
        )
    name, alias = parts["name"], parts["alias"] or CHAMPION
    known = aliases(store, name)
    number = int(parts["number"]) if parts["number"] else known.get(alias)
    try:
        found = None if number is None else store.client.get_model_version(name, str(number))
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        found = None
    if found is None:
        raise InputMissing(
            f"There is no such model version in {without_password(store.uri)}. Expected a number, or an alias of "
            f"{', '.join(sorted(known)) or '(none)'}. Received: {text!r}. `mlflow` or `make ui` lists them; "
            "MLFLOW_TRACKING_URI names another store."
        )
    model_id = found.model_id or found.source.removeprefix("models:/")
    return name, Version(int(found.version), found.tags.get(MODEL_SHA256, ""), model_id, dict(found.tags))

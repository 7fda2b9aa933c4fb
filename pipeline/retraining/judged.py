"""Which committed results were judged, and in which registry: known without MLflow, in no time.

A model whose `register` failed, or that a fresh clone found in git, must not be taken for one that was judged.
"""

import hashlib
import json
from pathlib import Path

from pipeline import paths
from pipeline.artifacts import read_json, write_json
from pipeline.retraining.children import Children
from pipeline.retraining.places import JUDGED
from pipeline.retraining.triggers import LEFT_OUT
from pipeline.strict_yaml import read_yaml


def write_down(children: Children) -> None:
    """Remember that `register` judged the results in the tree."""
    write_json(children.project / JUDGED, _facts(children))


def why_not(children: Children) -> str:
    """Return why the results in the tree count as not judged, "" if they were judged or there are none."""
    facts = _facts(children)
    if not facts["results"]:
        return ""
    judged_path = children.project / JUDGED
    known = read_json(judged_path) if judged_path.is_file() else None
    if known is None:
        return "no retrain of this project has brought a model to the registry yet"
    if known["results"] != facts["results"]:
        return "the committed results were never brought to the registry"
    if known["registry"] != facts["registry"]:
        return "MLFLOW_TRACKING_URI names another registry than the one that judged the committed results"
    uri = paths.tracking_uri(children.project)
    if uri.startswith(paths.SQLITE) and not Path(uri.removeprefix(paths.SQLITE)).is_file():
        return "the registry that judged the committed results is gone"
    return ""


def _facts(children: Children) -> dict[str, str]:
    lock_path = children.tree / paths.DVC_LOCK
    stages = read_yaml(lock_path).get("stages", {}) if lock_path.is_file() else {}
    made = {name: content for name, content in stages.items() if name not in LEFT_OUT}
    text = json.dumps(made, sort_keys=True, default=str)
    return {
        "results": hashlib.sha256(text.encode()).hexdigest() if made else "",
        # Only a digest: the URI may hold a password.
        "registry": hashlib.sha256(paths.tracking_uri(children.project).encode()).hexdigest(),
    }

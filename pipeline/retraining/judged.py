"""Whether the committed results were judged: the registry says it, and is asked every time.

A note of this machine could be of a registry that was emptied since, and would not know what other machines judged.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

from pipeline.provenance.origin import JUDGED, judged_digest
from pipeline.retraining.children import Children
from pipeline.runtime import paths
from pipeline.runtime.repository import relevant_stages
from pipeline.runtime.stage import ServiceDown
from pipeline.runtime.strict_yaml import read_yaml, yaml_content


def look(children: Children) -> tuple[bool, str]:
    """Return whether the committed results are still to be judged, and what the registry says of it.

    The dvc.lock in the tree may be ahead of them: `validate` writes what it read tonight into it. Where the
    registry does not answer, nothing could be judged either: no reason to retrain tonight, and said as it is.

    Raises:
        ChildFailed: git cannot read the committed dvc.lock; that is not the same as none.
    """
    name = paths.DVC_LOCK.as_posix()
    committed = children.git("ls-tree", "--name-only", "HEAD", "--", name).out.strip()
    text = children.git("show", f"HEAD:./{name}").out if committed else ""
    params = read_yaml(children.tree / paths.PARAMS_YAML)
    lock = yaml_content(text, "the committed dvc.lock") if committed else {}
    made = relevant_stages(lock, params.get("candidates", {}))
    if not made:
        return False, "no results yet"
    model = params.get("register", {}).get("model_name", "")
    uri = paths.tracking_uri(children.project)
    try:
        found = _is_judged(uri, model, judged_digest(made))
    except ServiceDown as error:
        return False, f"whether the committed results were judged is not known: {error}"
    return not found, f"the committed results were {'judged' if found else 'never brought to this registry'}"


def _is_judged(uri: str, model: str, digest: str) -> bool:
    """Return whether a version of the model was the one that a decision about these results was about.

    Raises:
        ServiceDown: The registry does not answer.
    """
    if uri.startswith(paths.SQLITE):
        return _in_database(Path(uri.removeprefix(paths.SQLITE)), (model, JUDGED, digest))
    from pipeline.tracking.existing_store import has_tagged_version

    return has_tagged_version(uri, model, JUDGED, digest)


def _in_database(path: Path, wanted: tuple[str, str, str]) -> bool:
    """Look into MLflow's own tables: importing MLflow takes longer than everything else on a quiet night."""
    if not path.is_file():
        return False
    query = "SELECT 1 FROM model_version_tags WHERE name = ? AND key = ? AND value = ? LIMIT 1"
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            return connection.execute(query, wanted).fetchone() is not None
    except sqlite3.Error as error:
        if "no such table" in str(error):
            return False
        raise ServiceDown(
            f"{path} cannot be read. Expected a database of MLflow. Received: {error}."
        ) from error

"""Every knob of the project: `params.yaml` as one frozen, strict object.

Stages load it once with `load_params` and hand plain values on; nothing below a stage imports this file.
The comments in `params.yaml` explain each key to its user; the types and ranges here and in
`pipeline/params` enforce them. There are no defaults for anything that moves a number: docs/decisions/0004.
"""

from pathlib import Path
from typing import Any

from pipeline.params.sections import Training
from pipeline.params.values import Params, _overridden
from pipeline.runtime.errors import ParamsError, Place
from pipeline.runtime.strict_yaml import convert, read_yaml, yaml_content


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Return the parameters of the project.

    Raises:
        ParamsError: Unknown names, wrong types, values out of range; all of them at once.
            Contradictions between values are the business of `pipeline.checks.contradictions`.
        FileNotFoundError: There is no such file.
    """
    return _converted(read_yaml(path), path.name)


def params_of(text: str, name: str = "params.yaml") -> Params:
    """Return the parameters in a text that is no file yet.

    Args:
        text: YAML.
        name: For messages.

    Raises:
        ParamsError: As `load_params`.
    """
    return _converted(yaml_content(text, name), name)


def repaired_params(places: list[Place], path: Path, fallback_path: Path) -> Params | None:
    """Return the parameters with each unusable value replaced, so that contradictions show beside it.

    Args:
        places: Where the unusable values are.
        path: The file that holds them.
        fallback_path: A params file that holds usable ones.

    Returns:
        None where that is not enough to understand the file.
    """
    try:
        content, fallback = read_yaml(path), read_yaml(fallback_path)
        for place in places:
            _repair(content, fallback, place)
        return _converted(content, path.name)
    except (ParamsError, FileNotFoundError):
        return None


def _repair(content: dict[str, Any], fallback: dict[str, Any], place: Place) -> None:
    """Put the fallback's value at a place, or nothing where it has none; a candidate is replaced whole."""
    place = place[:2] if place[0] == "candidates" else place
    for key in place[:-1]:
        inner: Any = content.get(key)
        if not isinstance(inner, dict):
            return
        content, fallback = inner, fallback.get(key) or {}
    if place[-1] in fallback:
        content[place[-1]] = fallback[place[-1]]
    else:
        content.pop(place[-1], None)


def _converted(content: dict[str, Any], where: str) -> Params:
    problems, places = _override_problems(content, where)
    try:
        params = convert(content, Params, where)
    except ParamsError as error:
        raise ParamsError(error.problems + problems, error.places + places) from error
    if problems:
        raise ParamsError(problems, places)
    return params


def _override_problems(content: dict[str, Any], where: str) -> tuple[list[str], list[Place]]:
    """Return the problems of `candidates.*.training`, named by the key the user typed, and their places."""
    problems: list[str] = []
    places: list[Place] = []
    section = content.get("training")
    candidates = content.get("candidates")
    if not isinstance(section, dict) or not isinstance(candidates, dict):
        return [], []
    try:
        convert(section, Training, where)
    except ParamsError:
        return [], []  # already reported at `training` itself
    for name, candidate in candidates.items():
        override = candidate.get("training", {}) if isinstance(candidate, dict) else {}
        if not isinstance(override, dict):
            continue  # reported by the walk over the whole file
        try:
            _overridden(section, override)
        except ParamsError as error:
            place = f"{where}: candidates.{name}.training."
            problems += [problem.replace("params.yaml: ", place, 1) for problem in error.problems]
            places.append(("candidates", name))
    return problems, places

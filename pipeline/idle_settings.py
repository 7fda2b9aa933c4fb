"""Settings that the task or the kind of data does not look at: told, because a bound that is ignored protects nobody.

They are no contradiction: the run does what it would do without them. No TensorFlow needed.
"""

from collections.abc import Iterator

from pipeline.config import Params
from pipeline.settings.data import CLASS_BOUNDS
from pipeline.source_file import Source
from pipeline.task_rules import PAYLOADS

OF_PAYLOAD = {
    "image": (
        *("data.image_size", "data.channels", "data.resize", "data.policy"),
        *("validate.near_hash_distance", "validate.near_pixel_difference"),
        *("features.edge_cell_px", "features.colour_bins", "training.augment"),
    ),
    "text": ("features.text", "validate.near_text_similarity"),
    "series": ("features.series", "validate.near_series_distance"),
}
"""Kind of sample to the settings that only such samples need."""
PLURALS = {"image": "images", "text": "texts", "series": "series"}


def idle_settings(params: Params, source: Source) -> list[str]:
    """Return one line that names every setting without effect and why it has none; [] if there is none.

    Args:
        params: Values that do not contradict each other.
        source: What data/source.json says about the data.
    """
    idle = [f"{name} ({why})" for name, why in _idle(params, source) if _value(params, name) is not None]
    if not idle:
        return []
    return [
        f"params.yaml: these settings have no effect here: {', '.join(idle)}. Remove them, or set them to null."
    ]


def _idle(params: Params, source: Source) -> Iterator[tuple[str, str]]:
    payload = PAYLOADS[source.kind]
    if params.data.task != "classification":
        for name in CLASS_BOUNDS:
            yield f"validate.{name}", "there are no classes"
        yield "data.positive_class", "there are no classes"
    for kind, names in OF_PAYLOAD.items():
        if kind != payload:
            for name in names:
                yield name, f"samples are {PLURALS[payload]}"
    if params.data.windows is not None and params.split.method == "time":
        yield "validate.near_series_distance", "series that are cut by time are not compared as a whole"
    if params.data.task != "anomaly":
        yield "evaluate.anomaly", f"the task is {params.data.task}"


def _value(params: Params, name: str) -> object:
    section, key = name.split(".")
    return getattr(getattr(params, section), key)

"""Rules between the task, the kind of data, the terms of the gate and what depends on them; no TensorFlow needed.

Each rule yields messages without the name of the file; `pipeline/checks/contradictions.py` runs them. No rule may leave
the
gate with nothing to demand.
"""

import math
from collections.abc import Iterator

import msgspec

from pipeline.fetching.source import KINDS, Source
from pipeline.metrics.names import HIGHER_IS_BETTER, metrics_of, monitors_of
from pipeline.params.families import (
    FAMILIES,
    Autoencoder,
    Polynomial,
    Ridge,
    family_of,
    supports,
    what_works,
)
from pipeline.params.sections import CLASS_BOUNDS, WITH_CLASSES
from pipeline.params.values import Params, training_of

LOSSES = {
    "classification": ("auto", "cross_entropy", "focal"),
    "multilabel": ("auto", "cross_entropy", "focal"),
    "regression": ("auto", "mse", "mae", "huber"),
    "forecasting": ("auto", "mse", "mae", "huber"),
    "anomaly": ("auto", "mse"),
}
LEAST_CONFIDENCE = 0.9
"""Below it more than one in twenty models that are no better would be promoted."""
RESAMPLES_BEYOND = 5
"""Resamples that must lie beyond an end of an interval for the end to mean something."""
WITHOUT_COLUMNS = ("digits", "idx", "image_arrays")
"""Kinds of source whose samples have neither groups nor side columns."""


def task_fits_the_data(params: Params, source: Source) -> Iterator[str]:
    """Yield what the task needs of windows, features and the section evaluate."""
    task, payload, windows = params.data.task, KINDS[source.kind], params.data.windows
    if task in ("forecasting", "anomaly") and (payload != "series" or windows is None):
        yield (
            f"data.task={task} needs windows over series. Expected a source of series with time and a block "
            f"data.windows. Received: kind={source.kind}, windows={windows}. See examples/etth1.yaml."
        )
    if windows is not None and source.kind != "series_table":
        yield (
            "data.windows needs a source of kind series_table, whose steps have time stamps. "
            f"Received: kind={source.kind}. Remove data.windows."
        )
    if windows is not None:
        yield from _window_problems(params)
    grey = params.data.grey_range
    if grey is not None and not (math.isfinite(grey[0]) and math.isfinite(grey[1]) and grey[0] < grey[1]):
        yield (
            "data.grey_range must rise. Expected the values that become black and white, [0, 4095] say. Received: "
            f"grey_range={list(grey)}. Correct it."
        )
    yield from _labelled_window_problems(params, source)
    if task == "anomaly" and params.evaluate.anomaly is None:
        yield "evaluate.anomaly is missing: task anomaly needs its thresholds. See examples/nab.yaml."
    needed: dict[str, dict[str, object]] = {
        "image": {
            "data.resize": params.data.resize,
            "data.policy": params.data.policy,
            "validate.near_hash_distance": params.validate.near_hash_distance,
            "validate.near_pixel_difference": params.validate.near_pixel_difference,
            "features.edge_cell_px": params.features.edge_cell_px,
            "features.colour_bins": params.features.colour_bins,
            "training.augment": params.training.augment,
        },
        "text": {
            "features.text": params.features.text,
            "validate.near_text_similarity": params.validate.near_text_similarity,
        },
        "series": {
            "features.series": params.features.series,
            # Series that are cut by time are never compared as a whole.
            "validate.near_series_distance": params.validate.near_series_distance
            if windows is None or params.split.method != "time"
            else 0.0,
        },
    }
    if params.reduce is not None and (payload == "text" or windows is not None):
        yield (
            "reduce works on images and whole series. Received: a section reduce with "
            f"{'windows' if windows else 'texts'}. Set reduce: null."
        )
    text = params.features.text
    if text is not None and (text.vectors is None) != (text.vectors_sha256 is None):
        yield (
            "features.text.vectors and vectors_sha256 belong together, so that another file gives another run. "
            f"Received: vectors={text.vectors}, vectors_sha256={text.vectors_sha256}. Give both or none."
        )
    example = {"image": "digits", "text": "sms-spam", "series": "japanese-vowels"}[payload]
    for name, value in needed[payload].items():
        if value is None:
            yield f"{name} is missing: {payload} data needs it. Copy it from examples/{example}.yaml."
    for bound in CLASS_BOUNDS if task in WITH_CLASSES else ():
        if getattr(params.validate, bound) is None:
            yield f"validate.{bound} is missing: classes need it. Copy it from examples/{example}.yaml."


def labels_fit_the_task(params: Params, source: Source) -> Iterator[str]:
    """Yield a task for one label where samples may have several, and the other way round."""
    task, several = params.data.task, source.several_labels
    if several and task != "multilabel":
        yield (
            "data.task must be multilabel: samples may have several labels. Received: "
            f"task={task}, with {_how_labels_are_read(source)} in data/source.json. Set task: multilabel, or run "
            "`millrace init` again with --set labels_separator=none, where each label is the name of one class."
        )
    if not several and task == "multilabel":
        yield (
            "data.task=multilabel needs a source whose samples may have several labels. Received: neither "
            f"labels_separator nor label_columns for kind={source.kind} in data/source.json. Run `millrace init` again "
            "with --set labels_separator=pipe (or comma, list, ...), or set task: classification."
        )
    if task == "multilabel" and params.data.limit_per_class is not None:
        yield (
            "data.limit_per_class cannot count samples of several labels. Expected null for task multilabel. "
            f"Received: limit_per_class={params.data.limit_per_class}. Set it to null."
        )


def _how_labels_are_read(source: Source) -> str:
    stated = {name: source.options.get(name) for name in ("labels_separator", "label_columns")}
    return ", ".join(f"{name}={value}" for name, value in stated.items() if value)


def _window_problems(params: Params) -> Iterator[str]:
    task, windows = params.data.task, params.data.windows
    if windows is None:
        return
    if task in WITH_CLASSES:
        yield (
            f"data.windows is for regression, forecasting and anomaly. Received: task={task}. Remove it; "
            "windows whose steps have classes are data.labelled_windows: {length: 100, stride: 50, label: majority}."
        )
    elif task == "anomaly":
        if windows.horizon or windows.targets or windows.length < 2:
            yield (
                "data.windows for task anomaly looks at the window itself. Expected horizon: 0, targets: [] and "
                f"length >= 2. Received: horizon={windows.horizon}, targets={list(windows.targets)}, "
                f"length={windows.length}."
            )
    elif task == "regression" and windows.horizon != 1:
        yield (
            "data.windows.horizon must be 1 for task regression, which predicts one step. "
            f"Received: horizon={windows.horizon}. Set it to 1, or take task forecasting."
        )
    elif not windows.horizon or not windows.targets:
        yield (
            f"data.windows for task {task} must say what to predict. Expected horizon >= 1 and at least one "
            f"target. Received: horizon={windows.horizon}, targets={list(windows.targets)}."
        )
    if not windows.length and not (windows.known or windows.known_categorical or windows.calendar):
        yield (
            "data.windows.length=0 leaves a model without any input. Expected a history, or known columns or "
            "calendar features. Raise length, or name some."
        )
    both = sorted({*windows.known, *windows.known_categorical} & set(windows.targets))
    if both:
        yield f"data.windows.known must not name targets. Received: {both}. Remove them from known."
    if params.split.method != "time":
        yield (
            "split.method must be time for windows, or they would overlap between the splits. "
            f"Received: method={params.split.method}. Set method: time."
        )


def _labelled_window_problems(params: Params, source: Source) -> Iterator[str]:
    cut, column = params.data.labelled_windows, source.options.get("step_label")
    if cut is None and column:
        yield (
            f"the source says which class every step has (step_label={column}), and nothing asks for it. Expected "
            "windows: data.labelled_windows: {length: 100, stride: 50, label: majority}, with task classification. "
            "Received: none. Set it, or run `millrace init` without step_label."
        )
    if cut is None:
        return
    if not column:
        yield (
            "data.labelled_windows needs a class for every step. Expected a source of kind series_table or "
            f"series_files with --set step_label=COLUMN. Received: kind={source.kind} without it. Run `millrace init` "
            "again, or remove data.labelled_windows."
        )
    if params.data.task != "classification":
        yield (
            "data.labelled_windows is for classification. Received: "
            f"task={params.data.task}. Set data.task: classification, or remove it."
        )
    if params.split.method not in ("group", "given"):
        yield (
            "split.method must be group or given for data.labelled_windows, or windows of one recording would stand on "
            f"both sides. Received: method={params.split.method}. Set method: group."
        )


def split_fits_the_data(params: Params, _source: Source) -> Iterator[str]:
    """Yield settings of the split that have no effect."""
    split = params.split
    for name in ("val_start", "test_start", "test_end", "embargo"):
        if getattr(split, name) and split.method != "time":
            yield (
                f"split.{name} has an effect with method=time only. Received: method={split.method}, "
                f"{name}={getattr(split, name)}. Remove it."
            )
    if (split.val_start is None) != (split.test_start is None):
        yield (
            "split.val_start and split.test_start belong together. Expected both or none. Received: "
            f"val_start={split.val_start}, test_start={split.test_start}."
        )


def metrics_fit_the_task(params: Params, _source: Source) -> Iterator[str]:
    """Yield where choice, monitor and loss are those of another task."""
    task = params.data.task
    known = [metric.name for metric in metrics_of(task) if metric.selects]
    if params.evaluate.select_by not in known:
        yield (
            f"evaluate.select_by is no metric of task {task}. Expected one of {', '.join(known)}. "
            f"Received: select_by={params.evaluate.select_by}."
        )
    for name in params.candidates:
        training = training_of(params, name)
        if training.loss not in LOSSES[task]:
            yield (
                f"candidates.{name}: loss is none of task {task}. Expected one of {', '.join(LOSSES[task])}. "
                f"Received: loss={training.loss}."
            )
        monitors = ("val_loss", *monitors_of(task))
        if training.monitor not in monitors:
            yield (
                f"candidates.{name}: monitor is none of task {task}. Expected one of {', '.join(monitors)}. "
                f"Received: monitor={training.monitor}."
            )
        if task != "classification" and (training.class_weights != "none" or training.label_smoothing):
            yield (
                f"candidates.{name}: class_weights and label_smoothing are for classification. Received: "
                f"class_weights={training.class_weights}, label_smoothing={training.label_smoothing}."
            )


def families_fit_the_data(params: Params, source: Source) -> Iterator[str]:
    """Yield candidates whose family does not work with this data and task, or has wrong settings for it."""
    task, payload = params.data.task, KINDS[source.kind]
    windowed = params.data.windows is not None
    for name, candidate in params.candidates.items():
        family = family_of(candidate)
        where = f"candidates.{name}"
        if not supports(family, payload, task, windowed=windowed):
            yield (
                f"{where}: family {family} does not work with {payload} data and task {task}. "
                f"{what_works(payload, task, windowed=windowed)}"
            )
            continue
        windows = params.data.windows
        if FAMILIES[family].needs_history and windows is not None and windows.length == 0:
            yield (
                f"{where}: family {family} reads the past. Expected data.windows.length >= 1. Received: length=0. "
                "Raise it, or take family dense or linear."
            )
        yield from _embedding_problems(where, family, candidate.model, text=payload == "text")
        yield from _forecast_problems(where, candidate.model, params)
        if getattr(candidate.model, "shortcuts", False) and getattr(candidate.model, "padding", "") != "same":
            yield f"{where}.model.shortcuts need as many places before as after. Set padding: same."
        yield from _solved_problems(where, candidate.model, windows.length if windows else 0)
        if isinstance(candidate.model, Autoencoder):
            yield from _autoencoder_problems(where, candidate.model, anomaly=task == "anomaly")


def _embedding_problems(where: str, family: str, model: msgspec.Struct, *, text: bool) -> Iterator[str]:
    given = getattr(model, "embedding_units", None)
    if text and given is None and FAMILIES[family].text == "tokens":
        yield f"{where}.model.embedding_units is missing: texts need the width of a word vector, 64 say."
    if not text and given is not None:
        yield f"{where}.model.embedding_units has an effect on texts only. Remove it."


def _forecast_problems(where: str, model: msgspec.Struct, params: Params) -> Iterator[str]:
    """Yield settings that copy scaled values from input to output, where that has no meaning."""
    scaling = params.features.series.scaling if params.features.series else None
    copying = [
        name
        for name in ("last_value_residual", "per_channel", "season", "look_backs")
        if getattr(model, name, False)
    ]
    for name in copying:
        history = params.data.windows.length if params.data.windows else 0
        if name == "season" and getattr(model, name) > history > 0:
            yield (
                f"{where}.model.season must not exceed the history. Expected at most data.windows.length={history}. "
                f"Received: season={getattr(model, name)}."
            )
        if params.data.task != "forecasting":
            yield f"{where}.model.{name} is for task forecasting. Received: task={params.data.task}. Remove it."
        elif scaling != "channel":
            yield (
                f"{where}.model.{name} hands scaled values through, so inputs and targets must be scaled alike. "
                f"Expected features.series.scaling: channel. Received: scaling={scaling}."
            )


def _solved_problems(where: str, model: msgspec.Struct, history: int) -> Iterator[str]:
    """Yield settings of solved families that windows of `history` steps do not hold."""
    if not history:
        return
    if isinstance(model, Ridge) and (min(model.look_backs) < 2 or max(model.look_backs) > history):
        yield (
            f"{where}.model.look_backs must lie in the window. Expected 2 to data.windows.length={history}. "
            f"Received: look_backs={list(model.look_backs)}. Change either."
        )
    if isinstance(model, Polynomial) and model.degree >= history - 1:
        yield (
            f"{where}.model.degree leaves nothing of a window. Expected at most {max(0, history - 2)} with "
            f"data.windows.length={history}. Received: degree={model.degree}. Lower it."
        )


def _autoencoder_problems(where: str, model: msgspec.Struct, *, anomaly: bool) -> Iterator[str]:
    second_step = ("pretrain_epochs", "pretrain_learning_rate", "encoder", "classifier_units", "dropout")
    given = [name for name in second_step if getattr(model, name) is not None]
    if anomaly and given:
        yield f"{where}.model: {', '.join(given)} have no effect for task anomaly. Remove them."
    missing = [name for name in second_step if name not in given]
    if not anomaly and missing:
        yield f"{where}.model: {', '.join(missing)} must be given. Copy them from examples/digits.yaml."


def intervals_can_decide(params: Params, _source: Source) -> Iterator[str]:
    """Yield where the intervals of the evaluation are too loose, or rest on too few resamples, for the gate."""
    confidence, resamples = params.evaluate.confidence, params.evaluate.bootstrap_resamples
    if confidence < LEAST_CONFIDENCE:
        yield (
            f"evaluate.confidence must be at least {LEAST_CONFIDENCE}: the gate promotes by these intervals, and a "
            f"model that is no better would pass in {(1 - confidence) / 2:.0%} of cases. "
            f"Received: confidence={confidence}. Set it to 0.95."
        )
    # Rounded, because 200 * (1 - 0.95) / 2 is a little below 5.
    beyond = round(resamples * (1 - confidence) / 2, 6)
    if beyond < RESAMPLES_BEYOND:
        needed = math.ceil(round(2 * RESAMPLES_BEYOND / (1 - confidence), 6))
        yield (
            f"evaluate.bootstrap_resamples are too few for confidence={confidence}: {beyond:g} lie beyond an end of "
            f"an interval. Expected at least {needed}. Received: bootstrap_resamples={resamples}. Raise it."
        )


def mode_has_its_margin(params: Params, _source: Source) -> Iterator[str]:
    """Yield a margin without its mode, a mode without its margin, and refreshes without a floor under them."""
    register = params.register
    margin = register.non_inferiority_margin
    if register.mode == "non_inferiority" and margin is None:
        yield (
            "register.non_inferiority_margin is missing: mode non_inferiority needs to know how much worse is not "
            "worse. Expected a share in (0, 0.1], 0.01 say. Received: null."
        )
    if register.mode == "non_inferiority" and register.floors is None:
        yield (
            "register.floors are missing: mode non_inferiority promotes models that are not worse, and only a floor "
            "says how good one must be whatever came before. Expected what every champion must hold on test, "
            "{accuracy: 0.8} say. Received: null."
        )
    if register.mode == "superiority" and margin is not None:
        yield (
            "register.non_inferiority_margin has an effect in mode non_inferiority only. "
            f"Received: mode=superiority, non_inferiority_margin={margin}. Set it to null, or change the mode."
        )


def floors_can_be_held(params: Params, _source: Source) -> Iterator[str]:
    """Yield floors of metrics that the task does not have, or that demand nothing."""
    task, floors = params.data.task, params.register.floors or {}
    season = params.evaluate.season
    known = [metric.name for metric in metrics_of(task) if season or "naive_errors" not in metric.settings]
    for name, bound in floors.items():
        if name not in known:
            yield (
                f"register.floors names a metric that task {task} does not have. Expected some of "
                f"{', '.join(known)}. Received: {name}={bound}."
            )
        elif not math.isfinite(bound) or not _demands_something(name, bound):
            range_ = _range(name)
            yield (
                f"register.floors.{name}={bound} can never, or can always, be held. Expected a number {range_}. "
                "Correct it, or remove it."
            )


def slices_can_exist(params: Params, source: Source) -> Iterator[str]:
    """Yield slices that cannot be cut; which columns other sources have is known once they are read."""
    slices, tolerance = params.register.slices, params.register.slice_tolerance
    if (slices is None) != (tolerance is None):
        yield (
            "register.slices and slice_tolerance belong together. Expected both or none. Received: "
            f"slices={slices}, slice_tolerance={tolerance}."
        )
    if slices is None:
        return
    if len(set(slices)) < len(slices):
        yield f"register.slices names a column twice. Received: {list(slices)}. Remove one."
    if params.data.task == "anomaly":
        yield (
            "register.slices cannot be judged for task anomaly, whose events go through many windows. "
            f"Received: slices={list(slices)}. Set slices and slice_tolerance to null."
        )
    if source.kind in WITHOUT_COLUMNS:
        yield (
            f"register.slices needs samples with columns. Received: slices={list(slices)}, kind={source.kind} in "
            "data/source.json. Set slices and slice_tolerance to null."
        )


def tolerances_fit_the_task(params: Params, _source: Source) -> Iterator[str]:
    """Yield tolerances that are missing, or that would be ignored."""
    register, task = params.register, params.data.task
    of_classes = {
        "class_tolerance": register.class_tolerance,
        "calibration_budget": register.calibration_budget,
    }
    for name, value in of_classes.items():
        if task in WITH_CLASSES and value is None:
            yield f"register.{name} is missing: {task} needs it. Expected a share in [0, 0.5], 0.05 say."
        if task not in WITH_CLASSES and value is not None:
            yield f"register.{name} is for classification. Received: task={task}, {name}={value}. Set it to null."


def _demands_something(name: str, bound: float) -> bool:
    if not HIGHER_IS_BETTER[name]:
        return bound > 0 and not (name == "expected_calibration_error" and bound >= 1)
    return 0 < bound < 1


def _range(name: str) -> str:
    unbounded = not HIGHER_IS_BETTER[name] and name != "expected_calibration_error"
    return "above 0" if unbounded else "between 0 and 1"

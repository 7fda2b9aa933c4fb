"""Parameters that are valid one by one and impossible together.

Each rule is a generator of messages; `contradictions` runs them all, so that a user meets every problem
in the first two seconds instead of one per run. Settings that the task or the kind of data does not look at are
no contradiction, for the run does what it would do without them; they are told, because a bound that is ignored
protects nobody. Nothing here imports TensorFlow.
"""

from collections.abc import Callable, Iterator

from pipeline.checks.asked_for import columns_are_named, side_columns_are_used
from pipeline.checks.ensemble import ensemble_can_answer
from pipeline.checks.example_names import other_data_than
from pipeline.checks.facts import facts_fit
from pipeline.checks.rules import (
    families_fit_the_data,
    floors_can_be_held,
    intervals_can_decide,
    labels_fit_the_task,
    metrics_fit_the_task,
    mode_has_its_margin,
    slices_can_exist,
    split_fits_the_data,
    task_fits_the_data,
    tolerances_fit_the_task,
)
from pipeline.features.limits import feature_problems
from pipeline.fetching.source import KINDS, Source
from pipeline.models.layers.shapes import conv_output_sizes
from pipeline.params.families import (
    BASELINE_FAMILIES,
    BASELINES,
    FAMILIES,
    UNTRAINED_FAMILIES,
    Autoencoder,
    Cnn,
    family_of,
    input_kind,
)
from pipeline.params.sections import CLASS_BOUNDS, WITH_CLASSES
from pipeline.params.space import space_problems
from pipeline.params.values import Params, training_of, tune_of, workers_of


def contradictions(params: Params, source: Source) -> list[str]:
    """Return one message per contradiction, in the order of params.yaml.

    Args:
        params: Values that are valid one by one.
        source: What data/source.json says about the data.
    """
    rules: list[Callable[[Params, Source], Iterator[str]]] = [
        task_fits_the_data,
        labels_fit_the_task,
        families_fit_the_data,
        metrics_fit_the_task,
        split_fits_the_data,
        _split_leaves_a_train_set,
        _given_split_exists,
        columns_are_named,
        side_columns_are_used,
        _features_can_be_computed,
        _pretrained_weights_fit,
        _baselines_are_there,
        _candidates_can_train,
        _optimizers_use_their_settings,
        _augmentation_fits_the_image,
        _convolutions_fit_the_image,
        _searches_can_run,
        ensemble_can_answer,
        intervals_can_decide,
        _model_has_a_name_of_its_own,
        mode_has_its_margin,
        floors_can_be_held,
        tolerances_fit_the_task,
        slices_can_exist,
        facts_fit,
    ]
    return [f"params.yaml: {problem}" for rule in rules for problem in rule(params, source)]


def _image_size(params: Params, source: Source) -> tuple[int, int] | None:
    """Return (height, width) in pixels where it is known before the data is read."""
    if params.data.image_size is not None:
        return params.data.image_size
    return source.image_size


def _split_leaves_a_train_set(params: Params, _source: Source) -> Iterator[str]:
    val, test = params.split.val_share, params.split.test_share
    if val + test >= 1:
        yield (
            "split.val_share + split.test_share must stay below 1, so that something is left to train on. "
            f"Received: val_share={val}, test_share={test}. Lower one of them."
        )
    if params.split.method == "stratified":
        for name, share in (("val_share", val), ("test_share", test)):
            if share == 0:
                yield f"split.{name} must be above 0 for method=stratified. Received: {name}=0. Try 0.15."


def _given_split_exists(params: Params, source: Source) -> Iterator[str]:
    if params.split.method == "given" and source.kind == "digits":
        yield (
            "split.method=given needs a source that brings a split. Received: method='given' with kind 'digits' in "
            "data/source.json. Use stratified."
        )


def _features_can_be_computed(params: Params, source: Source) -> Iterator[str]:
    if KINDS[source.kind] != "image":
        return
    readers = [
        (name, family_of(candidate))
        for name, candidate in params.candidates.items()
        if input_kind(family_of(candidate), "image", params.data.task) == "vector"
    ]
    if readers and not params.features.groups:
        yield (
            f"features.groups must name at least one group for candidate {readers[0][0]} of family {readers[0][1]}. "
            "Received: groups=[]. Add colour, texture or edges, or remove the candidate."
        )
    size = _image_size(params, source)
    if size is not None:
        channels = params.data.channels or 1
        cell_px = params.features.edge_cell_px
        if cell_px is not None:
            yield from feature_problems((*size, channels), params.features.groups, cell_px)


def _pretrained_weights_fit(params: Params, source: Source) -> Iterator[str]:
    readers = [name for name, candidate in params.candidates.items() if FAMILIES[family_of(candidate)].frozen]
    if readers and params.features.pretrained is None:
        yield (
            f"features.pretrained is missing: candidate {readers[0]} learns from what such weights make of the data. "
            "Expected the file and digest that `millrace weights add` printed. Received: null. See "
            "docs/guides/pretrained.md."
        )
    payload = KINDS[source.kind]
    if readers and payload == "image" and params.data.channels == 1:
        yield (
            "data.channels must be 3 for pretrained features: their trunks read colour images. Received: channels=1. "
            "Set data.channels: 3; grey images are then read as colour."
        )
    for name in readers:
        if payload != "text" and getattr(params.candidates[name].model, "bag", False):
            yield f"candidates.{name}.model.bag has an effect on texts only. Remove it."


def _baselines_are_there(params: Params, _source: Source) -> Iterator[str]:
    families = {family_of(candidate) for candidate in params.candidates.values()}
    for family in BASELINES[params.data.task]:
        if family not in families:
            yield (
                f"candidates must hold one of family {family}: the gate compares every model with it. "
                f"Received: families {', '.join(sorted(families))}. Copy its block from examples/digits.yaml."
            )
    if families <= set(BASELINE_FAMILIES) and params.register.baselines_may_win is False:
        yield (
            "candidates must hold something beside the baselines, for register.baselines_may_win is false. "
            "Add a block of family cnn, rnn, autoencoder, dense or pretrained, or set it to true."
        )


def _candidates_can_train(params: Params, source: Source) -> Iterator[str]:
    shares = 0.0 if params.split.method == "given" else params.split.test_share
    num_train = int(source.count * (1 - params.split.val_share - shares))
    # Otherwise said already and no batch size would help, or known after ingest: how many windows there are.
    windows = params.data.windows is not None or params.data.labelled_windows is not None
    countable = params.split.val_share + shares < 1 and not windows
    for name, candidate in params.candidates.items():
        training = training_of(params, name)
        if countable and training.batch_size > max(num_train, 1):
            yield (
                f"candidates.{name}: batch_size must not exceed the training set of about {num_train} samples. "
                f"Received: batch_size={training.batch_size}. Lower training.batch_size."
            )
        if training.epochs == 0 and family_of(candidate) not in UNTRAINED_FAMILIES:
            yield (
                f"candidates.{name}: epochs must be at least 1 for family {family_of(candidate)}. Received: epochs=0. "
                f"Only families {', '.join(UNTRAINED_FAMILIES)} learn nothing step by step."
            )
        if workers_of(training) > training.batch_size:
            yield (
                f"candidates.{name}: training.workers must not exceed its batch_size of {training.batch_size}, whose "
                f"rows are dealt out to them. Received: workers={training.workers}. Lower it, or raise batch_size."
            )


def _optimizers_use_their_settings(params: Params, _source: Source) -> Iterator[str]:
    for name in params.candidates:
        training = training_of(params, name)
        if training.optimizer == "adam" and training.weight_decay > 0:
            yield (
                f"candidates.{name}: optimizer=adam has no decoupled weight decay and would ignore it. "
                f"Received: weight_decay={training.weight_decay}. Use optimizer: adamw, or weight_decay: 0."
            )


def _augmentation_fits_the_image(params: Params, source: Source) -> Iterator[str]:
    size = _image_size(params, source)
    if size is None:
        return
    for name in params.candidates:
        augment = training_of(params, name).augment
        if augment is None:
            continue  # said by another rule
        for key, pixels in (("shift_px", augment.shift_px), ("cutout_px", augment.cutout_px)):
            if pixels >= min(size):
                yield (
                    f"candidates.{name}: augment.{key} must be smaller than the image of {size[0]}x{size[1]} pixels. "
                    f"Received: {key}={pixels}. Lower it."
                )


def _convolutions_fit_the_image(params: Params, source: Source) -> Iterator[str]:
    size = _image_size(params, source)
    if size is None:
        return
    for name, candidate in params.candidates.items():
        model = candidate.model
        if isinstance(model, Cnn):
            sizes = conv_output_sizes(
                size,
                model.filters,
                model.convolutions_per_block,
                model.kernel_size,
                model.strides,
                model.padding,
                model.pooling,
                model.pool_size,
            )
            for block, (height, width) in enumerate(sizes, start=1):
                if min(height, width) < 1:
                    yield (
                        f"candidates.{name}.model: block {block} of {len(model.filters)} shrinks the image of "
                        f"{size[0]}x{size[1]} below 1x1 pixel. Received: kernel_size={model.kernel_size}, "
                        f"strides={model.strides}, padding={model.padding}, pooling={model.pooling}. "
                        "Take fewer filters entries, padding: same, or less pooling."
                    )
                    break
        elif isinstance(model, Autoencoder) and model.kind == "conv":
            blocks = len(model.filters)
            if min(size) < 2**blocks:
                yield (
                    f"candidates.{name}.model: {blocks} halvings shrink the image of {size[0]}x{size[1]} below 1x1 "
                    f"pixel. Received: filters={list(model.filters)}. Take fewer filters entries."
                )


def _searches_can_run(params: Params, _source: Source) -> Iterator[str]:
    for name, candidate in params.candidates.items():
        tune = tune_of(params, name)
        if tune.trials and candidate.tune.space:
            epochs = training_of(params, name).epochs
            if tune.min_epochs > epochs > 0:  # without any, a search is no use, which is said below
                yield (
                    f"candidates.{name}: tune.min_epochs must not exceed its {epochs} epochs. "
                    f"Received: min_epochs={tune.min_epochs}. Lower it."
                )
        elif candidate.tune.trials:
            yield (
                f"candidates.{name}.tune.space is empty, so its trials would all be the baseline. "
                f"Received: trials={candidate.tune.trials}. Name a range, or set trials: 0."
            )
        yield from (f"candidates.{name}.tune.space: {problem}" for problem in space_problems(candidate))


def _model_has_a_name_of_its_own(params: Params, source: Source) -> Iterator[str]:
    name = params.register.model_name
    received = other_data_than(name, source)
    if received:
        yield (
            f"register.model_name={name} is the name of an example's model, and the data is another: versions would be "
            f"compared with models of that example. Expected a name of your own. Received: {received} in "
            "data/source.json. Set register.model_name, and register.experiment with it."
        )


OF_PAYLOAD = {
    "image": (
        *("data.image_size", "data.channels", "data.grey_range", "data.resize", "data.policy"),
        *("validate.near_hash_distance", "validate.near_pixel_difference"),
        *("features.edge_cell_px", "features.colour_bins", "training.augment"),
    ),
    "text": ("features.text", "validate.near_text_similarity"),
    "series": ("features.series", "validate.near_series_distance"),
}
"""Kind of sample to the settings that only such samples need."""
PLURALS = {"image": "images", "text": "texts", "series": "series"}


def slow_settings(params: Params, num_cores: int) -> list[str]:
    """Return one line that names the candidates whose workers have not a core per thread; [] if there are none.

    Not refused, because the answer is the same as on a machine that has them.

    Args:
        params: Values that do not contradict each other.
        num_cores: Of this machine.
    """
    wanted = {name: workers_of(training_of(params, name)) * params.threads for name in params.candidates}
    slow = [
        f"{name} ({threads // params.threads} x {params.threads})"
        for name, threads in wanted.items()
        if params.threads < threads and num_cores < threads
    ]
    if not slow:
        return []
    told = (
        f"params.yaml: training.workers x threads is more than the {num_cores} cores of this machine for "
        f"{', '.join(slow)}: they take turns, and end later than fewer workers would. Lower training.workers or "
        "threads (both move the bits)."
    )
    return [told]


def idle_settings(params: Params, source: Source) -> list[str]:
    """Return one line that names every setting without effect and why it has none; [] if there is none.

    Args:
        params: Values that do not contradict each other.
        source: What data/source.json says about the data.
    """
    idle = [f"{name} ({why})" for name, why in _idle(params, source) if _value(params, name) is not None]
    idle += [f"{name} ({why})" for name, why in _idle_of_candidates(params)]
    if not idle:
        return []
    told = f"params.yaml: these settings have no effect here: {', '.join(idle)}."
    return [f"{told} Remove them, or set them to null or false."]


def _idle(params: Params, source: Source) -> Iterator[tuple[str, str]]:
    payload = KINDS[source.kind]
    if params.data.task not in WITH_CLASSES:
        for name in CLASS_BOUNDS:
            yield f"validate.{name}", "there are no classes"
        yield "data.positive_class", "there are no classes"
    if params.data.task == "multilabel":
        yield "data.positive_class", "every label has a threshold of its own"
    for kind, names in OF_PAYLOAD.items():
        if kind != payload:
            for name in names:
                yield name, f"samples are {PLURALS[payload]}"
    if not any(FAMILIES[family_of(candidate)].frozen for candidate in params.candidates.values()):
        yield "features.pretrained", "no candidate reads it"
    if params.data.windows is not None and params.split.method == "time":
        yield "validate.near_series_distance", "series that are cut by time are not compared as a whole"
    if params.data.task == "anomaly" and params.select.refit:
        yield "select.refit", "alarms are in units of the errors of the model that set them: false says so"
    if params.data.task != "anomaly":
        yield "evaluate.anomaly", f"the task is {params.data.task}"


def _idle_of_candidates(params: Params) -> Iterator[tuple[str, str]]:
    """Yield what a candidate sets for a training that its family does not have; `epochs: 0` says just that."""
    for name, candidate in params.candidates.items():
        family = family_of(candidate)
        used = {"class_weights"} if family == "linear" else set()
        if family in UNTRAINED_FAMILIES:
            for key, value in candidate.training.items():
                if key not in used and (key, value) != ("epochs", 0):
                    yield f"candidates.{name}.training.{key}", f"family {family} is solved, not trained"


def _value(params: Params, name: str) -> object:
    section, key = name.split(".")
    return getattr(getattr(params, section), key)

"""Family `rocket`: MiniRocket (Dempster, Schmidt & Webb 2021, arXiv 2012.08791); solved, not trained.

84 fixed kernels of nine weights, six of -1 and three of 2, read a series at many dilations. Each feature is the share
of steps at which one of them gives more than a bias, which is a quantile of what it gives on some training series. A
ridge regression answers from these shares; its penalty is chosen, and its scores are made probabilities, by what it
says of each training series when that one is left out. No validation series is needed for any of it.

Everything is a Keras layer: a convolution whose weights are steep, cut to [0, 1], and its mean over the steps.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
from keras import layers
from scipy import optimize, special
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn

from pipeline.inputs.specs import PAD, InputSpec, OutputSpec
from pipeline.models.layers.blocks import NEVER, step_mask
from pipeline.models.layers.heads import answer
from pipeline.models.layers.inputs import Start, begin

KERNEL_STEPS, RAISED = 9, 3
KERNELS = tuple(itertools.combinations(range(KERNEL_STEPS), RAISED))
"""Which three weights of each kernel are 2."""
MOST_DILATIONS = 32
"""Per kernel, as in the paper."""
MOST_CHANNELS = 9
"""That one kernel reads together, as in the authors' code for several channels."""
STEEPNESS = 10
"""A comparison rises from 0 to 1 within 2^-10 deviations of the series. A true step would turn the last bit of a
convolution, which differs between processors, into a whole step of a share."""
FIT_NUMBERS = 1 << 27
"""Of float32 that the features of a batch of training series may need at once, half a GiB."""


@dataclass(frozen=True)
class Dilation:
    """What is read at one dilation.

    Attributes:
        steps: From one weight of a kernel to the next.
        features: Biases of each kernel.
        padded: Kernels that read beyond both ends, where zeros stand.
        inside: Kernels that stay inside.
    """

    steps: int
    features: int
    padded: tuple[int, ...]
    inside: tuple[int, ...]


def dilations(length: int, features: int) -> tuple[Dilation, ...]:
    """Return what is read at which dilation: exponentially spread, up to the length of the series.

    Args:
        length: Steps of a series; up to 8 leave but one dilation, and every kernel reads beyond the ends.
        features: In all; whole multiples of 84 are made.

    Raises:
        ValueError: Fewer than 84.
    """
    per_kernel = features // len(KERNELS)
    if per_kernel < 1:
        raise ValueError(
            f"Family rocket makes a feature of each kernel. Expected features >= {len(KERNELS)}. Received: "
            f"features={features}. Set it to 9996, as in the paper."
        )
    most = min(per_kernel, MOST_DILATIONS)
    reach = max(0.0, float(np.log2(max(1, length - 1) / (KERNEL_STEPS - 1))))
    # 2^reach is a whole number of steps for some lengths, and must not fall just below it.
    spread = np.floor(np.exp2(np.linspace(0, reach, most)) + 1e-9).astype(int)
    steps, counts = np.unique(spread, return_counts=True)
    shares = counts * per_kernel // most
    # What is left over goes to the shortest dilations, one by one.
    left = per_kernel - int(shares.sum())
    shares += left // len(shares) + (np.arange(len(shares)) < left % len(shares))
    short = length < KERNEL_STEPS
    made = []
    for index, (dilation, share) in enumerate(zip(steps.tolist(), shares.tolist(), strict=True)):
        padded = tuple(kernel for kernel in range(len(KERNELS)) if short or (index + kernel) % 2 == 0)
        inside = tuple(kernel for kernel in range(len(KERNELS)) if kernel not in padded)
        made.append(Dilation(dilation, share, padded, inside))
    return tuple(made)


def build(input_spec: InputSpec, output_spec: OutputSpec, *, features: int = 9996) -> keras.Model:
    """Return the model before it is solved; side features are not read.

    Args:
        input_spec: Of kind `series`; of a series that ends early only its own steps count.
        output_spec: Of task classification, multilabel or regression.
        features: How many shares, a multiple of 84 (others are rounded down).

    Returns:
        Series in; probabilities or numbers out, see `pipeline.models.layers.heads`.

    Raises:
        ValueError: Another task or kind of input, or fewer than 84 features.
    """
    if output_spec.task not in ("classification", "multilabel", "regression"):
        raise ValueError(
            "Family rocket answers for whole series or windows. Expected task=classification, multilabel or "
            f"regression. Received: task={output_spec.task}. Use family ridge for forecasts, pca for anomalies."
        )
    start = begin(input_spec, ("series",))
    shares = []
    for dilation in dilations(input_spec.shape[0], features):
        for padding, kernels in (("same", dilation.padded), ("valid", dilation.inside)):
            if kernels:
                shares.append(_shares(start, dilation, padding, len(kernels)))
    joined = shares[0] if len(shares) == 1 else layers.Concatenate(name="shares")(shares)
    model = answer("rocket", start, layers.Activation("linear", name="features")(joined), output_spec, l2=0.0)
    model.trainable = False
    return model


def _shares(start: Start, dilation: Dilation, padding: str, kernels: int) -> keras.KerasTensor:
    """Return the share of steps above each bias, (batch, kernels * biases)."""
    name = f"{padding}_{dilation.steps}"
    raised = layers.Conv1D(
        kernels * dilation.features,
        KERNEL_STEPS,
        dilation_rate=dilation.steps,
        padding=padding,
        kernel_initializer="zeros",
        name=f"convolution_{name}",
    )(start.hidden)
    above = layers.ReLU(max_value=1.0, name=f"above_{name}")(raised)
    if start.present is None:
        return layers.GlobalAveragePooling1D(name=f"shares_{name}")(above)
    # A kernel inside the series ends on one of its steps.
    present = start.present
    if padding == "valid":
        present = layers.Cropping1D(((KERNEL_STEPS - 1) * dilation.steps, 0), name=f"ends_{name}")(present)
    mask = step_mask(present, f"mask_{name}")
    penalty = layers.Rescaling(NEVER, offset=-NEVER, name=f"penalty_{name}")(mask)
    weights = layers.Softmax(name=f"equal_{name}")(penalty)
    # Where no step is left the softmax is not empty, and the share must be 0.
    weights = layers.Multiply(name=f"weights_{name}")([weights, mask])
    return layers.Dot(axes=(1, 1), name=f"shares_{name}")([above, weights])


def fit_closed_form(model: keras.Model, inputs: np.ndarray, targets: np.ndarray | None) -> None:
    """Choose the biases from training series and solve the regression.

    Which series give biases, and of several channels which are read together, is drawn from the seed that Keras was
    given.

    Args:
        model: From `build`; its weights are set.
        inputs: All training series, float32 (num_train, length, channels), `PAD` behind the end.
        targets: Class index (num_train,), labels 0 or 1 (num_train, num_classes), or scaled numbers
            (num_train, num_targets).

    Raises:
        ValueError: Targets are missing, or there are fewer than two series.
    """
    if targets is None:
        raise ValueError("Family rocket needs targets. Expected one per series. Received: targets=none.")
    random = np.random.default_rng(int(keras.random.randint((), 0, 2**31 - 1)))
    head = next(layer for layer in model.layers if layer.name in ("logits", "values"))
    _set_kernels(model, inputs, head.kernel.shape[0], random)
    to_features = keras.Model(model.get_layer("inputs").output, model.get_layer("features").output)
    rows = max(1, FIT_NUMBERS // (2 * inputs.shape[1] * head.kernel.shape[0]))
    parts = [inputs[first : first + rows] for first in range(0, len(inputs), rows)]
    features = np.concatenate([np.asarray(to_features(part, training=False)) for part in parts])
    classes = model.layers[-1].name == "probabilities"
    truth = one_against_rest(targets, max(2, head.units)) if classes else targets.astype(np.float64)
    solved = solve_ridge(features, truth)
    kernel, intercept = solved.kernel, solved.intercept
    if classes:
        exclusive = model.layers[-1].activation is keras.activations.softmax
        slopes, offsets = calibration(solved.left_out, truth, exclusive=exclusive)
        kernel, intercept = kernel * slopes, intercept * slopes + offsets
    head.set_weights([kernel, intercept])


def _set_kernels(model: keras.Model, inputs: np.ndarray, features: int, random: np.random.Generator) -> None:
    """Give every convolution its weights, and as biases quantiles of what it says of a training series each."""
    length, num_channels = inputs.shape[1:]
    present = inputs[:, :, 0] != np.float32(PAD)
    deviation = float(inputs[present].std(dtype=np.float64)) or 1.0
    steep = 2.0 ** (STEEPNESS - round(float(np.log2(deviation))))
    position = 0
    for dilation in dilations(length, features):
        filters: list[np.ndarray] = []
        biases: list[np.ndarray] = []
        for raised in KERNELS:
            channels = _drawn_channels(num_channels, random)
            row = int(random.integers(len(inputs)))
            series = inputs[row][present[row]][:, channels].sum(axis=1, dtype=np.float64)
            # Multiples of the golden ratio, modulo 1: spread evenly however many are taken.
            golden = np.arange(position + 1, position + 1 + dilation.features) * ((np.sqrt(5) + 1) / 2) % 1
            position += dilation.features
            biases.append(np.quantile(convolved(series, raised, dilation.steps), golden))
            weights = np.zeros((KERNEL_STEPS, num_channels))
            weights[:, channels] = -1
            for step in raised:
                weights[step, channels] = 2
            filters.append(weights)
        for padding, kernels in (("same", dilation.padded), ("valid", dilation.inside)):
            if kernels:
                stacked = np.stack([filters[kernel] for kernel in kernels], axis=-1)
                layer = model.get_layer(f"convolution_{padding}_{dilation.steps}")
                layer.set_weights(
                    [
                        steep * np.repeat(stacked, dilation.features, axis=-1),
                        -steep * np.concatenate([biases[kernel] for kernel in kernels]),
                    ]
                )


def convolved(series: np.ndarray, raised: tuple[int, ...], dilation: int) -> np.ndarray:
    """Return what a kernel says at every step of a series (num_steps,), zeros standing beyond both ends."""
    reach = KERNEL_STEPS // 2 * dilation
    wide = np.pad(series, reach)
    shifted = [wide[step * dilation :][: len(series)] for step in range(KERNEL_STEPS)]
    return np.asarray(3 * sum(shifted[step] for step in raised) - sum(shifted))


def _drawn_channels(count: int, random: np.random.Generator) -> np.ndarray:
    """Return the channels that a kernel reads: few more often than many."""
    if count == 1:
        return np.zeros(1, int)
    number = int(2 ** random.uniform(0, np.log2(min(count, MOST_CHANNELS) + 1)))
    return random.choice(count, number, replace=False)


# --- Ridge regression in closed form, its penalty chosen without validation rows, and scores made probabilities.

PENALTIES = tuple(float(penalty) for penalty in np.logspace(-3, 5, 17))
"""Of standardised features; the grid of Dempster et al. (2021) reaches 1e3, and noise asks for more."""
SMOOTHEST = 1e-6
"""Pull on slope and intercept of a calibration, so that scores that tell nothing have an answer too."""


@dataclass(frozen=True)
class Ridge:
    """A solved ridge regression.

    Attributes:
        kernel: float64 (num_features, num_targets), for features as they come, not standardised.
        intercept: float64 (num_targets,).
        penalty: The chosen one, on standardised features.
        left_out: float64 (num_rows, num_targets): what the regression without a row answers for that row.
    """

    kernel: np.ndarray
    intercept: np.ndarray
    penalty: float
    left_out: np.ndarray


def solve_ridge(features: np.ndarray, targets: np.ndarray, penalties: Sequence[float] = PENALTIES) -> Ridge:
    """Return the ridge regression whose squared error, each row left out in its turn, is smallest.

    With the singular vectors U and values s of the centred features, the answers for the rows are
    U diag(s^2 / (s^2 + penalty)) U' y, and the error for a row left out is its residual divided by one minus its
    leverage (Golub, Heath & Wahba 1979). Features are standardised, the intercept is not penalised.

    Args:
        features: Float (num_rows, num_features); constant ones get no weight.
        targets: Float (num_rows, num_targets).
        penalties: Tried in this order, the first of equals is taken.

    Raises:
        ValueError: Fewer than two rows.
    """
    count = len(features)
    if count < 2:
        raise ValueError(
            f"A regression needs rows to leave out. Expected at least 2. Received: {count}. Give train more samples."
        )
    with threadpool_limits(1):  # the last bits of a product depend on how many threads share it
        mean = features.mean(axis=0, dtype=np.float64)
        deviation = features.std(axis=0, dtype=np.float64)
        varies = deviation > np.abs(mean) * 1e-6 + 1e-12
        scale = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=varies)
        standard = (features - mean) * scale
        level = targets.mean(axis=0, dtype=np.float64)
        centred = targets - level
        vectors, squares = _left_vectors(standard)
        projected = vectors.T @ centred

        def left_out(penalty: float) -> np.ndarray:
            shrunk = squares / (squares + penalty)
            left = 1 - 1 / count - (vectors**2) @ shrunk
            return np.asarray(
                (centred - vectors @ (shrunk[:, None] * projected)) / np.maximum(left, 1e-12)[:, None]
            )

        penalty = min(penalties, key=lambda one: float(np.mean(left_out(one) ** 2)))
        errors = left_out(penalty)
        kernel = standard.T @ (vectors @ (projected / (squares + penalty)[:, None])) * scale[:, None]
    return Ridge(kernel, level - mean @ kernel, penalty, targets - errors)


def _left_vectors(standard: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the left singular vectors (num_rows, rank) and squared singular values, by the smaller Gram matrix."""
    tall = len(standard) > standard.shape[1]
    squares, vectors = np.linalg.eigh(standard.T @ standard if tall else standard @ standard.T)
    kept = squares > max(float(squares[-1]), 1e-300) * max(standard.shape) * np.finfo(np.float64).eps
    squares, vectors = squares[kept], vectors[:, kept]
    return (standard @ vectors / np.sqrt(squares) if tall else vectors), squares


def one_against_rest(targets: np.ndarray, num_classes: int) -> np.ndarray:
    """Return +1 for the class of a row and -1 for others, float64; of two classes one column, of the second.

    Args:
        targets: Class index (num_rows,), or several labels 0 or 1 (num_rows, num_classes).
        num_classes: How many there are.
    """
    if targets.ndim == 2:
        return 2.0 * targets.astype(np.float64) - 1
    columns = np.arange(1, 2) if num_classes == 2 else np.arange(num_classes)
    return np.where(targets[:, None] == columns, 1.0, -1.0)


def calibration(scores: np.ndarray, truth: np.ndarray, *, exclusive: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return slopes and intercepts that turn scores into logits of smallest log loss.

    Scores that separate the classes would have no finite slope: as in Platt (1999) a right answer is worth
    (n + 1) / (n + 2) of n rows and no more.

    Args:
        scores: Out-of-fold, float64 (num_rows, num_outputs).
        truth: +1 and -1, same shape; one +1 in each row where `exclusive`.
        exclusive: Whether the outputs share a softmax: one slope for all, no intercept. Else each has a
            sigmoid, with slope and intercept of its own.

    Returns:
        float64 (num_outputs,) each; slopes are above 0.
    """
    width = scores.shape[1]
    positives = (truth > 0).sum(axis=0)
    if exclusive:
        sure = ((positives + 1) / (positives + 2))[truth.argmax(axis=1)][:, None]
        wanted = np.where(truth > 0, sure, (1 - sure) / (width - 1))

        def loss(log_slope: float) -> float:
            logits = np.exp(log_slope) * scores
            return float(np.mean(special.logsumexp(logits, axis=1) - (wanted * logits).sum(axis=1)))

        found = optimize.minimize_scalar(loss, bounds=(-5.0, 6.0), method="bounded")
        return np.full(width, np.exp(found.x)), np.zeros(width)
    pairs = [_platt(scores[:, output], truth[:, output] > 0) for output in range(width)]
    return np.array([slope for slope, _ in pairs]), np.array([intercept for _, intercept in pairs])


def _platt(scores: np.ndarray, positive: np.ndarray) -> tuple[float, float]:
    count, positives = len(scores), int(positive.sum())
    wanted = np.where(positive, (positives + 1) / (positives + 2), 1 / (count - positives + 2))

    def loss(values: np.ndarray) -> float:
        logits = np.exp(values[0]) * scores + values[1]
        return float(np.mean(np.logaddexp(0, logits) - wanted * logits)) + SMOOTHEST * float(values @ values)

    found = optimize.minimize(loss, np.zeros(2), method="L-BFGS-B", bounds=[(-5.0, 6.0), (-50.0, 50.0)])
    return float(np.exp(found.x[0])), float(found.x[1])

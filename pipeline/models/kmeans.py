"""Family `kmeans`: a window is given back as the nearest of a few typical windows; solved, not trained.

The mean squared error of the reconstruction is the squared distance to the nearest centre, over the numbers of a window
(KMeansAD; Yairi et al. 2001).
"""

import math

import keras
import numpy as np
from keras import layers
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn

from pipeline.inputs.specs import InputSpec, OutputSpec
from pipeline.models.layers.inputs import begin

SHARPNESS = 1e4
"""Times half the squared distance: whose squared distance is smaller by 0.01 gets all but e^-50 of the vote."""
STARTS = 10
"""Of the iteration, each from other centres; the tightest clusters are kept."""
MAX_WINDOWS = 50_000
"""More add nothing to the centres; then so many are taken at even distances."""


def build(input_spec: InputSpec, output_spec: OutputSpec, *, clusters: int = 20) -> keras.Model:
    """Return the model before it knows the centres; side features are not used.

    Args:
        input_spec: Of kind `series`.
        output_spec: Of task anomaly.
        clusters: Centres; of fewer different windows each is one.

    Returns:
        Series in, nearest centre (batch, length, channels) out.

    Raises:
        ValueError: Another task or kind of input.
    """
    if output_spec.task != "anomaly":
        raise ValueError(
            "Family kmeans gives windows back. Expected task=anomaly. Received: "
            f"task={output_spec.task}. Use family nearest or rocket for classes."
        )
    start = begin(input_spec, ("series",))
    flat = layers.Flatten(name="flatten")(start.hidden)
    closeness = layers.Dense(clusters, name="closeness")(flat)
    sharp = layers.Rescaling(SHARPNESS, name="sharpened")(closeness)
    votes = layers.Softmax(name="votes")(sharp)
    centre = layers.Dense(math.prod(input_spec.shape), use_bias=False, name="centres")(votes)
    output = layers.Reshape(input_spec.shape, name="predictions")(centre)
    model = keras.Model(start.model_inputs, output, name="kmeans")
    model.trainable = False
    return model


def fit_closed_form(model: keras.Model, inputs: np.ndarray, _targets: np.ndarray | None = None) -> None:
    """Set the centres from the training windows, by Lloyd's iteration from k-means++ starts.

    The starts follow from the seed that Keras was given.

    Args:
        model: From `build`; its weights are set.
        inputs: Training windows, float32 (num_train, length, channels).
    """
    from sklearn.cluster import KMeans  # a second of start-up that other families need not pay

    closeness = model.get_layer("closeness")
    flat = inputs.reshape(len(inputs), -1)
    flat = flat[:: -(-len(flat) // MAX_WINDOWS)].astype(np.float64)
    different = len(np.unique(flat, axis=0))
    seed = int(keras.random.randint((), 0, 2**31 - 1))
    with threadpool_limits(1):  # the last bits of a sum depend on how many threads share it
        clustering = KMeans(min(closeness.units, different), n_init=STARTS, random_state=seed).fit(flat)
    # Centres beyond those found are the first once more: equally near ones share the vote, and agree.
    centres = clustering.cluster_centers_
    centres = centres[np.arange(closeness.units) % len(centres)]
    closeness.set_weights([centres.T, -np.square(centres).sum(axis=1) / 2])
    model.get_layer("centres").set_weights([centres])

"""Family `autoencoder`: learns to reconstruct images, texts or series from few codes, then to answer from those."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from pipeline.inputs.specs import InputSpec, OutputSpec
from pipeline.models.layers.blocks import (
    BATCH_NORMALIZATION_MOMENTUM,
    dense_block,
    dropped,
    initializer,
    l2_penalty,
)
from pipeline.models.layers.coders import decoded, encoded
from pipeline.models.layers.heads import answer
from pipeline.models.layers.inputs import begin, joined, untouched

KINDS_OF_INPUT = ("image", "tokens", "series")


def build_autoencoder(
    input_spec: InputSpec,
    *,
    kind: str = "dense",
    codes: int = 32,
    units: Sequence[int] = (128,),
    filters: Sequence[int] = (16, 32),
    activation: str = "relu",
    cell: str = "gru",
    embedding_units: int = 64,
    l2: float = 0.0,
    **_of_the_answer: Any,
) -> keras.Model:
    """Return an untrained autoencoder.

    Args:
        input_spec: Of kind `image`, `tokens` or `series`; side features are not reconstructed, nor used.
        kind: `dense`, `conv` with convolutions of stride 2, or `sequence` with recurrent layers.
        codes: Numbers that stand for one sample.
        units: For `dense` and `sequence`, and texts: width of each layer of the encoder; the decoder mirrors them.
        filters: For `conv`: kernels of each convolution of the encoder; the decoder mirrors them.
        activation: `relu`, `sigmoid` or `tanh`; codes have none.
        cell: For `sequence`: `simple`, `lstm` or `gru`.
        embedding_units: Texts: width of the vector of a token.
        l2: Strength of the penalty on kernels.

    Returns:
        Raw inputs in; pixels in [0, 1], series, or a probability for each word of the vocabulary out, see
        `pipeline.models.layers.coders`. Its layer `encoder` turns the main input into codes, shape (batch, codes), and
        its layer `decoder` codes into the reconstruction.
    """
    start = begin(input_spec, KINDS_OF_INPUT, embedding_units=embedding_units)
    settings: dict[str, Any] = {
        "units": units,
        "filters": filters,
        "activation": activation,
        "cell": cell,
        "l2": l2,
    }
    hidden = encoded(start, kind, **settings)
    code_inputs = keras.Input((codes,), name="codes")
    reconstruction = decoded(code_inputs, input_spec, kind, **settings)
    hidden = layers.Dense(codes, kernel_regularizer=l2_penalty(l2), name="codes")(hidden)
    encoder = keras.Model(start.inputs["inputs"], hidden, name="encoder")
    decoder = keras.Model(code_inputs, reconstruction, name="decoder")
    whole = untouched(input_spec)
    return keras.Model(whole.model_inputs, decoder(encoder(whole.hidden)), name="autoencoder")


def build(
    input_spec: InputSpec,
    output_spec: OutputSpec,
    *,
    encoder: str = "frozen",
    classifier: str = "dense",
    classifier_units: Sequence[int] = (64,),
    activation: str = "relu",
    dropout: float = 0.1,
    l2: float = 0.0,
    output_activation: str = "linear",
    fusion_units: Sequence[int] = (),
    trained_encoder: keras.Model | None = None,
    **of_the_autoencoder: Any,
) -> keras.Model:
    """Return a model that answers from codes; for task anomaly the autoencoder itself.

    Args:
        input_spec: Of kind `image`, `tokens` or `series`.
        output_spec: What is asked.
        encoder: `frozen`, or `fine_tuned` while the rest learns.
        classifier: `dense`, or `cnn`: the codes, laid out as a small square, are read by convolutions of 3 x 3.
        classifier_units: Width of each layer between codes and output, or kernels of each convolution.
        activation: `relu`, `sigmoid` or `tanh`.
        dropout: Share dropped after each of those layers, or of the codes where there are none.
        l2: Strength of the penalty on kernels.
        output_activation: `linear` or `tanh`; regression and forecasting.
        fusion_units: Width of each dense layer between the join with side features and the output.
        trained_encoder: The layer `encoder` of a trained autoencoder, which stays as it is: the model gets
            a copy. An untrained one is built if None.
        **of_the_autoencoder: The other settings of `build_autoencoder`, which shape an untrained encoder.

    Returns:
        Raw inputs in; probabilities or numbers out, see `pipeline.models.layers.heads`.
    """
    if trained_encoder is None or output_spec.task == "anomaly":
        autoencoder = build_autoencoder(input_spec, activation=activation, l2=l2, **of_the_autoencoder)
        if output_spec.task == "anomaly":
            return autoencoder
        trained_encoder = autoencoder.get_layer("encoder")
    copy = keras.models.clone_model(trained_encoder)
    copy.set_weights(trained_encoder.get_weights())
    copy.trainable = encoder == "fine_tuned"
    start = untouched(input_spec)
    # Nothing in reconstruction fixes the scale of the codes, and an answer needs one.
    hidden = layers.BatchNormalization(momentum=BATCH_NORMALIZATION_MOMENTUM, name="codes_normalization")(
        copy(start.hidden)
    )
    if classifier == "cnn":
        hidden = _read_as_image(hidden, classifier_units, activation, dropout, l2)
    else:
        for index, width in enumerate(classifier_units):
            hidden = dense_block(
                hidden,
                width,
                name=f"classifier_{index}",
                activation=activation,
                batch_normalization=False,
                dropout=dropout,
                l2=l2,
            )
    if not classifier_units:
        hidden = dropped(hidden, dropout, "dropout")
    return answer(
        "autoencoder",
        start,
        joined(hidden, start),
        output_spec,
        l2=l2,
        fusion_units=tuple(fusion_units),
        output_activation=output_activation,
    )


def _read_as_image(
    codes: keras.KerasTensor, filters: Sequence[int], activation: str, dropout: float, l2: float
) -> keras.KerasTensor:
    """Return what convolutions find in codes that are laid out as a square, row by row, zeros at the end."""
    count = codes.shape[1]
    side = math.isqrt(count - 1) + 1
    column = layers.Reshape((count, 1), name="code_column")(codes)
    padded = layers.ZeroPadding1D((0, side * side - count), name="padded_codes")(column)
    hidden = layers.Reshape((side, side, 1), name="code_image")(padded)
    for index, kernels in enumerate(filters):
        hidden = layers.Conv2D(
            kernels,
            3,
            padding="same",
            activation=activation,
            kernel_initializer=initializer(activation),
            kernel_regularizer=l2_penalty(l2),
            name=f"classifier_{index}",
        )(hidden)
        hidden = dropped(hidden, dropout, f"classifier_{index}_dropout")
    return layers.Flatten(name="code_features")(hidden)

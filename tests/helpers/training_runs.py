"""A small training that uses everything random: run by tests in processes of their own, and killed there."""

import hashlib
from pathlib import Path

import numpy as np


def run(folder: str, *, epochs: int = 12, stop_after: int | None = None, max_steps: int | None = None) -> str:
    """Train with dropout, augmentation, averaged weights and Adam; write the sha256 of the final weights to
    `<folder>/digest`.

    Call it in a process of its own: it settles threads and determinism of TensorFlow for good.
    A line is added to `<folder>/epochs` at the end of each epoch, before its checkpoint.
    """
    from pipeline.inference import backend

    backend.prepare_tensorflow(threads=2, seed=3)
    from pipeline.training import batches, fit, losses, optimizers
    from pipeline.training import epochs as training_epochs
    from pipeline.training import optimizers as training_optimizers
    from pipeline.training.batches import BatchedData

    if max_steps:
        training_epochs.MAX_STEPS = max_steps
    inputs, targets = images(90)
    model = small_network(recurrent=True)
    train = BatchedData(
        inputs, np.arange(70), targets, batch_size=16, seed=3, shuffle=True,
        augmentation=batches.create_augmentation(flip=True, shift_px=1, cutout_px=2),
    )  # fmt: skip
    val = BatchedData(inputs, np.arange(70, 90), targets, batch_size=64, seed=3, shuffle=False)
    schedule = training_optimizers.create_schedule(
        "cosine", learning_rate=0.01, epochs=epochs, steps_per_epoch=train.num_batches,
        warmup_share=0.1, decay_rate=1.0, decay_epochs=1.0,
    )  # fmt: skip
    log = Path(folder) / "epochs"

    def on_epoch(epoch: int, logs: dict[str, float]) -> None:
        with log.open("a") as file:
            file.write(f"{epoch} {logs['loss']!r}\n")

    fit.fit(
        model, losses.classification(3, 0.1), train, val,
        optimizer=optimizers.create_optimizer("adam", schedule, ema_momentum=0.9),
        epochs=epochs, checkpoint_path=Path(folder) / "state.checkpoint", on_epoch=on_epoch, stop_after=stop_after,
    )  # fmt: skip
    digest = hashlib.sha256(b"".join(array.tobytes() for array in model.get_weights())).hexdigest()
    (Path(folder) / "digest").write_text(digest)


def images(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return uint8 images 8x8x1 of 3 classes that a network can learn to tell apart, and their classes."""
    generator = np.random.default_rng(0)
    targets = np.arange(count) % 3
    inputs = generator.integers(0, 120, (count, 8, 8, 1), dtype=np.uint8)
    inputs[np.arange(count), targets * 2] += 100
    return inputs, targets.astype(np.int32)


def small_network(*, recurrent: bool = False):
    """Return an untrained network for `images`, with batch normalisation and dropout; the same each time.

    Args:
        recurrent: Let a state read the rows too; compiling its loops takes a second.
    """
    import keras
    from keras import layers

    keras.utils.set_random_seed(3)
    inputs = keras.Input((8, 8, 1), dtype="uint8")
    pixels = layers.Rescaling(1 / 255)(inputs)
    hidden = layers.Conv2D(4, 3)(pixels)
    hidden = layers.BatchNormalization(momentum=0.9)(hidden)
    hidden = layers.Dropout(0.3)(layers.Flatten()(layers.Activation("relu")(hidden)))
    if recurrent:
        hidden = layers.Concatenate()([hidden, layers.GRU(4)(layers.Reshape((8, 8))(pixels))])
    return keras.Model(inputs, layers.Activation("softmax")(layers.Dense(3)(hidden)))

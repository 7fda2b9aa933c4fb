"""Start TensorFlow and Keras, the same way in every process: the same inputs then give the same bits."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PINNED = {
    "TF_ENABLE_ONEDNN_OPTS": "1",
    "ONEDNN_DEFAULT_FPMATH_MODE": "STRICT",
    "DNNL_DEFAULT_FPMATH_MODE": "STRICT",  # its older name, which oneDNN asks where the other is not set
    "XLA_FLAGS": "",  # those of JAX end a process of TensorFlow that does not know them, others move bits
}
"""Set before TensorFlow is loaded, whatever the machine says: oneDNN and XLA read them once."""


def prepare_tensorflow(threads: int, seed: int) -> None:
    """Import TensorFlow so that the same inputs give the same bits, at two thirds of the usual cost.

    Args:
        threads: CPU threads of one operation; the bits of a convolution depend on it.
        seed: For Python, NumPy and Keras.

    The bits also depend on oneDNN, whose switch is pinned, as is its precision: a machine's
    ONEDNN_DEFAULT_FPMATH_MODE=BF16 would multiply with 8 bits of mantissa. So are the flags of XLA. What
    else it heeds is recorded (`machine_facts` of pipeline/provenance/origin.py). Keras and TensorFlow import
    pandas, scikit-learn, matplotlib and scipy where they find them, only to recognise their types; hiding the
    ones nobody has imported yet saves a third of the start-up.
    """
    os.environ.update(PINNED, TF_CPP_MIN_LOG_LEVEL="3", KERAS_BACKEND="tensorflow")
    hidden = [name for name in ("pandas", "sklearn", "matplotlib", "scipy") if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: "not importable"
    try:
        with quiet_stderr():
            import keras
            import tensorflow as tf
    finally:
        for name in hidden:
            sys.modules.pop(name, None)
    if tf.config.threading.get_intra_op_parallelism_threads() != threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    # One process builds several models here; TensorFlow's advice on retracing is about loops over one.
    tf.get_logger().setLevel("ERROR")
    # A ~/.keras/keras.json of this user must not change what a model is.
    keras.config.set_floatx("float32")
    keras.config.set_image_data_format("channels_last")
    keras.config.set_epsilon(1e-7)
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Send file descriptor 2 to nowhere: TensorFlow's C++ greets before its log level is read."""
    sys.stderr.flush()
    saved = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)

"""Variables of the environment that choose kernels or threads, and with them the last bits of a result."""

import os

ONEDNN_SWITCH = "TF_ENABLE_ONEDNN_OPTS"
SWITCHES = ("ONEDNN_", "DNNL_", "OMP_", "KMP_", "MKL_", "OPENBLAS_", "NPY_DISABLE_", "XLA_FLAGS")
"""How their names begin; none of them holds a secret."""


def switches() -> dict[str, str]:
    """Return those that are set, sorted, without TensorFlow's own (`ONEDNN_SWITCH`), which is told apart."""
    return {name: value for name, value in sorted(os.environ.items()) if name.startswith(SWITCHES)}

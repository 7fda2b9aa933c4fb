"""What of a machine moves the last bits of a result: the kind of its processor, and variables that choose kernels."""

import os
import platform
from pathlib import Path

CPU_FLAGS = (
    "sse4_1", "sse4_2", "avx", "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512bw", "avx512dq", "avx512vl",
    "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16", "asimd", "sve", "bf16", "i8mm",
)  # fmt: skip
"""By these oneDNN, Eigen, OpenBLAS and XLA choose their kernels, which add up in another order."""
ONEDNN_SWITCH = "TF_ENABLE_ONEDNN_OPTS"
SWITCHES = ("ONEDNN_", "DNNL_", "OMP_", "KMP_", "MKL_", "OPENBLAS_", "NPY_DISABLE_")
"""How their names begin; none of them holds a secret."""


def switches() -> dict[str, str]:
    """Return those that are set, sorted, without TensorFlow's own (`ONEDNN_SWITCH`), which is told apart."""
    return {name: value for name, value in sorted(os.environ.items()) if name.startswith(SWITCHES)}


def processor_kind(_given: str = "") -> str:
    """Return the kind of this processor: with equal ones the same program gives the same bits."""
    return f"{platform.machine()}: {processor(Path('/proc/cpuinfo'))[1]}"


def processor(path: Path) -> tuple[str, str]:
    """Return the processor's name and those of its flags that matter; of an ARM processor Linux tells no name."""
    text = text_of(path)
    if not text:
        return platform.processor() or platform.machine(), ""
    first: dict[str, str] = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        first.setdefault(name.strip(), value.strip())
    model = first.get("model name") or first.get("CPU part") or platform.machine()
    flags = set((first.get("flags") or first.get("Features") or "").split())
    return model, " ".join(flag for flag in CPU_FLAGS if flag in flags)


def text_of(path: Path) -> str:
    """Return what a file of the kernel says, "" where there is none or it says nothing."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""

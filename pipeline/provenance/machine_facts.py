"""What about a machine changes the bits of a result, beside data, code and parameters.

For tags and artifacts only: nothing here may reach an out of DVC, or two machines could not agree on one.
"""

import importlib.metadata
import os
import platform
import re
from collections import Counter
from pathlib import Path

from pipeline.runtime.files import content_key

CPU_FLAGS = (
    "sse4_1", "sse4_2", "avx", "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512bw", "avx512dq", "avx512vl",
    "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16", "asimd", "sve", "bf16", "i8mm",
)  # fmt: skip
"""By these oneDNN, Eigen and OpenBLAS choose their kernels, which add up in another order."""
PACKAGES = ("tensorflow", "keras", "numpy", "scikit-learn", "pandas", "pyarrow")
ONEDNN_SWITCH = "TF_ENABLE_ONEDNN_OPTS"


def machine_facts() -> dict[str, str]:
    """Return processors, their instruction sets that matter, switches, versions and operating system."""
    model, flags = _processor(Path("/proc/cpuinfo"))
    gpus, driver = _gpus(Path("/proc/driver/nvidia"))
    return {
        "cpu": model,
        "cpu_flags": " ".join(flag for flag in CPU_FLAGS if flag in flags),
        "cpus": str(os.cpu_count()),
        "gpu_driver": driver,
        "gpus": gpus,
        "gpus_visible": os.environ.get("CUDA_VISIBLE_DEVICES", "all"),
        "libc": " ".join(platform.libc_ver()),
        "machine": platform.machine(),
        "onednn": os.environ.get(ONEDNN_SWITCH, "default"),
        "os": _os_name(),
        "python": platform.python_version(),
    } | {name: _version(name) for name in PACKAGES}


def environment_digest() -> str:
    """Return a sha256 (hex) over name and version of every installed package."""
    found = {
        f"{str(item.metadata['Name']).lower()}=={item.version}"
        for item in importlib.metadata.distributions()
        if item.metadata["Name"]
    }
    return content_key(sorted(found))


def _processor(path: Path) -> tuple[str, set[str]]:
    """Return the processor's name and flags; of an ARM processor Linux tells no name."""
    text = _text(path)
    if not text:
        return platform.processor() or platform.machine(), set()
    first: dict[str, str] = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        first.setdefault(name.strip(), value.strip())
    model = first.get("model name") or first.get("CPU part") or platform.machine()
    return model, set((first.get("flags") or first.get("Features") or "").split())


def _gpus(folder: Path) -> tuple[str, str]:
    """Return the graphics processors that NVIDIA's driver knows, and its version; "none" where it tells none.

    TensorFlow would have to be imported to tell which of them it uses, and those that only it sees.
    """
    texts = [_text(path) for path in folder.glob("gpus/*/information")]
    found = Counter(name.strip() for text in texts for name in re.findall("^Model:(.*)$", text, re.MULTILINE))
    gpus = ", ".join(f"{count} x {name}" for name, count in sorted(found.items()))
    driver = re.search(r"\d+\.\d+(\.\d+)?", _text(folder / "version"))
    return gpus or "none", driver[0] if driver else "none"


def _text(path: Path) -> str:
    """Return what a file of the kernel says, "" where there is none or it says nothing."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        return platform.system()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"

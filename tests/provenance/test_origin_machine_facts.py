"""What changes the bits of a result: which processors, and which driver."""

import json

from pipeline.provenance.origin import _gpus, machine_facts, other_processor
from pipeline.provenance.processor import processor

# As an x86-64 machine with one H200 shows it, shortened.
VERSION = """\
NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04  Release Build  (builder@host)
GCC version:  gcc version 15.3.0 (GCC)
"""
INFORMATION = """\
Model: \t\t NVIDIA H200
IRQ:   \t\t 41
Bus Location: \t 0000:00:06.0
"""


def test_graphics_processors_are_counted_by_name(tmp_path):
    """Two of a kind and another, under the driver that runs them."""
    (tmp_path / "version").write_text(VERSION)
    for number, model in enumerate(("H200", "L4", "H200")):
        path = tmp_path / f"gpus/0000:0{number}:00.0/information"
        path.parent.mkdir(parents=True)
        path.write_text(INFORMATION.replace("H200", model))
    assert ("2 x NVIDIA H200, 1 x NVIDIA L4", "580.159.04") == _gpus(tmp_path)


def test_without_a_driver_there_is_none(tmp_path):
    """No folder at all, as on most machines."""
    assert ("none", "none") == _gpus(tmp_path / "nvidia")


def test_the_first_processor_stands_for_all(tmp_path):
    """Name and instruction sets, as Linux lists them for each core."""
    path = tmp_path / "cpuinfo"
    path.write_text(
        "model name\t: Some CPU\nflags\t\t: sse4_2 avx2\n\nmodel name\t: Other\nflags\t\t: none\n"
    )
    assert ("Some CPU", "sse4_2 avx2") == processor(path)


def test_switches_of_the_libraries_are_recorded(monkeypatch):
    """What chooses kernels and threads in oneDNN, OpenMP and BLAS, and nothing else of the environment."""
    for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_VERBOSE", "OMP_NUM_THREADS", "MY_SECRET"):
        monkeypatch.setenv(name, "1")
    switches = machine_facts()["switches"].split()
    assert {"ONEDNN_MAX_CPU_ISA=1", "DNNL_VERBOSE=1", "OMP_NUM_THREADS=1"} <= set(switches)
    assert not any("SECRET" in switch for switch in switches)


def test_another_kind_of_processor_is_told():
    """The same machine says nothing, one without AVX-512 does, and a version that recorded nothing is not judged."""
    here = machine_facts()
    assert [] == other_processor(json.dumps(here)) == other_processor("")
    assert [] == other_processor(json.dumps({"cpu": "Another name, the same instructions"}))
    (told,) = other_processor(json.dumps({**here, "cpu_flags": "sse4_2 avx512f avx512_bf16"}))
    assert told.startswith("Other processor kind")
    assert "instruction sets sse4_2 avx512f avx512_bf16 recorded" in told
    (told,) = other_processor(json.dumps({**here, "switches": "ONEDNN_MAX_CPU_ISA=AVX2"}))
    assert "switches ONEDNN_MAX_CPU_ISA=AVX2 recorded" in told

"""What changes the bits of a result: which processors, and which driver."""

from pipeline.provenance.origin import _gpus, _processor

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
    assert ("Some CPU", {"sse4_2", "avx2"}) == _processor(path)

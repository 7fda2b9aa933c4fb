"""The option by which commands that read data limit how much of it they take."""

import argparse


def add_size_limit(parser: argparse.ArgumentParser) -> None:
    """Add `--max-gib`, of downloads and of what archives unpack to."""
    text = "largest download, and largest unpacked archive, in GiB (default: 20)"
    parser.add_argument("--max-gib", type=float, default=20.0, help=text)


def max_bytes(options: argparse.Namespace) -> int:
    """Return the limit in bytes."""
    return int(options.max_gib * 2**30)

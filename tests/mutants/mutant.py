"""A safeguard taken away, and the tests that must notice."""

from typing import NamedTuple


class Mutant(NamedTuple):
    """One change of the product that makes it worse.

    Attributes:
        name: What is gone.
        file: From the project's root.
        old: Stands there exactly once.
        new: Takes its place.
        tests: As pytest takes them; at least one must fail.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

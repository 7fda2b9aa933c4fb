"""What all sections of params.yaml share: they are immutable, closed to unknown names, and count alike."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

Count = Annotated[int, Meta(ge=1)]
Natural = Annotated[int, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, lt=1)]
"""A part of a whole, 0 included, 1 excluded."""
Positive = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
Activation = Literal["relu", "sigmoid", "tanh"]
Name = Annotated[str, Meta(min_length=1)]


class Section(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A block of params.yaml: immutable, and closed to names it does not know."""

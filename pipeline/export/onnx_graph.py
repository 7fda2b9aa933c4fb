"""The graph of an ONNX file while it is written: nodes and constants, and one use of a layer."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.export.onnx_file import FLOAT, Attribute, Node

INT64_MAX = 2**63 - 1
Shape = tuple[int, ...]


class Graph:
    """Nodes and constants of an ONNX graph, in the order in which they are made.

    Attributes:
        nodes: So far.
        constants: Name to array.
        numbers: That all layers give for one sample: what a batch takes of memory.
    """

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.constants: dict[str, np.ndarray] = {}
        self.numbers = 0
        self._held: dict[str, str] = {}
        self._float = set[str]()
        self._layer = ""

    def known(self, name: str, dtype: str) -> str:
        """Return the name of an input, whose dtype is remembered."""
        if dtype == "float32":
            self._float.add(name)
        return name

    def begin(self, layer: str) -> None:
        """Name what follows after a layer."""
        self._layer = layer

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Attribute) -> str:
        """Add a node and return the name of its first output; of several outputs the others end in their number."""
        stem = f"{self._layer}/{kind}_{len(self.nodes)}"
        names = [stem, *(f"{stem}_{number}" for number in range(1, outputs))]
        self.nodes.append(Node(kind, stem, inputs, names, attributes))
        if kind != "Cast" or attributes["to"] == FLOAT:
            self._float.update(names)
        return stem

    def constant(self, values: Any, dtype: type = np.float32) -> str:
        """Return the name of an array that the graph holds; of equal ones it holds one, as of layers used twice."""
        array: np.ndarray = np.asarray(values, dtype)
        if not np.isfinite(array).all():
            raise ValueError(
                f"A weight of layer {self._layer!r} is not finite, so the model was not exported. Expected finite "
                "numbers. Received: NaN or infinity. Train it again: `dvc repro --force train`."
            )
        content = np.ascontiguousarray(array).tobytes()
        key = f"{array.dtype.name} {array.shape} {hashlib.sha256(content).hexdigest()}"
        name = self._held.setdefault(key, f"{self._layer}/constant_{len(self.constants)}")
        self.constants[name] = array
        return name

    def integers(self, values: Sequence[int]) -> str:
        """Return the name of int64 numbers: axes, sizes, places."""
        return self.constant(values, np.int64)

    def moved(self, name: str, source: str) -> str:
        """Return a tensor that holds the numbers of another: whole ones, if those are."""
        if source not in self._float:
            self._float.discard(name)
        return name

    def as_float(self, name: str) -> str:
        """Return a tensor as float32, as Keras casts what enters a layer."""
        return name if name in self._float else self.op("Cast", name, to=FLOAT)

    def transposed(self, name: str, order: Sequence[int]) -> str:
        """Return a tensor with its axes in another order."""
        return self.op("Transpose", name, perm=list(order))

    def reshaped(self, name: str, shape: Sequence[int]) -> str:
        """Return a tensor in another shape behind its first dimension."""
        return self.op("Reshape", name, self.integers([-1, *shape]))

    def sliced(self, name: str, begin: Sequence[int], end: Sequence[int]) -> str:
        """Return a tensor without so many places at the begin and the end of each axis behind the first."""
        stops = [-cut if cut else INT64_MAX for cut in end]
        axes = range(1, len(begin) + 1)
        return self.op("Slice", name, self.integers(begin), self.integers(stops), self.integers(list(axes)))


@dataclass(frozen=True)
class Call:
    """One use of a layer.

    Attributes:
        layer: The Keras layer.
        inputs: Names of what it reads, in order, and float32 unless it only moves numbers about.
        mask: Name of the mask, or None.
        shapes: Of the inputs, behind the first dimension.
        shape: Of its output, behind the first dimension.
    """

    layer: Any
    inputs: Sequence[str]
    mask: str | None
    shapes: Sequence[Shape]
    shape: Shape

    def refuse(self, only: str) -> NotImplementedError:
        """Return the error that says what of this layer can be exported."""
        kind = type(self.layer).__name__
        return NotImplementedError(
            f"Layer {self.layer.name!r} cannot be exported. Expected {only}. Received: a {kind} with other settings. "
            "Write it in pipeline/export/onnx_layers.py."
        )

"""The ONNX format: nodes and arrays as the bytes of one protobuf message, and nothing more of protobuf than that.

Written here, since the format is small and the bytes must follow from the model alone: protobuf's own libraries promise
no order of fields, and every version of a model carries the digest of this file.

Source: onnx.proto of ONNX 1.15 (field numbers, types), and the wire format of Protocol Buffers.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

OPSET = 18
IR_VERSION = 9
"""Of ONNX 1.15, which onnxruntime reads from 1.17 on."""
PRODUCER = "millrace"
BATCH = "batch"
"""Name of the first dimension, which is free."""
MAX_BYTES = 2**31 - 1
"""A protobuf message is no longer."""
FLOAT, INT32, INT64 = 1, 6, 7
DATA_TYPES = {"float32": FLOAT, "uint8": 2, "int32": INT32, "int64": INT64}
"""`TensorProto.DataType` of the dtypes that a model of ours has."""
Attribute = int | float | str | Sequence[int]


@dataclass(frozen=True)
class Node:
    """One operation.

    Attributes:
        kind: The operator of ONNX.
        name: Of the node, and of its first output.
        inputs: Names; "" stands for one that is left out.
        outputs: Names.
        attributes: By name.
    """

    kind: str
    name: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    attributes: Mapping[str, Attribute]


@dataclass(frozen=True)
class Value:
    """An input or the output of a model.

    Attributes:
        name: Its name.
        dtype: As NumPy calls it.
        shape: Behind the first dimension.
    """

    name: str
    dtype: str
    shape: Sequence[int]


def model_bytes(
    name: str,
    nodes: Iterable[Node],
    constants: Mapping[str, np.ndarray],
    *,
    inputs: Iterable[Value],
    output: Value,
    metadata: Mapping[str, str],
) -> bytes:
    """Return a model as the content of an ONNX file.

    Args:
        name: Of the graph.
        nodes: In an order in which they can run.
        constants: Name to array, of a dtype in `DATA_TYPES`.
        inputs: What is fed.
        output: What is answered.
        metadata: Whatever else the file says.

    Raises:
        OverflowError: It is larger than the format can say.
    """
    graph = b"".join(
        [
            *(_field(1, _node(node)) for node in nodes),
            _field(2, name.encode()),
            *(_field(5, _tensor(key, array)) for key, array in constants.items()),
            *(_field(11, _value(value)) for value in inputs),
            _field(12, _value(output)),
        ]
    )
    entries = (_field(1, key.encode()) + _field(2, value.encode()) for key, value in sorted(metadata.items()))
    whole = b"".join(
        [
            _field(1, IR_VERSION),
            _field(2, PRODUCER.encode()),
            _field(7, graph),
            _field(8, _field(2, OPSET)),
            *(_field(14, entry) for entry in entries),
        ]
    )
    if len(whole) > MAX_BYTES:
        raise OverflowError(f"an ONNX file of {len(whole):,} bytes; the format ends at {MAX_BYTES:,}")
    return whole


def _node(node: Node) -> bytes:
    return b"".join(
        [
            *(_field(1, name.encode()) for name in node.inputs),
            *(_field(2, name.encode()) for name in node.outputs),
            _field(3, node.name.encode()),
            _field(4, node.kind.encode()),
            *(_field(5, _attribute(name, value)) for name, value in sorted(node.attributes.items())),
        ]
    )


def _attribute(name: str, value: Attribute) -> bytes:
    """Return an AttributeProto; field 20 says which of the others holds the value."""
    if isinstance(value, int):
        said = _field(3, value) + _field(20, 2)
    elif isinstance(value, float):
        said = _varint(2 << 3 | 5) + struct.pack("<f", value) + _field(20, 1)
    elif isinstance(value, str):
        said = _field(4, value.encode()) + _field(20, 3)
    else:
        said = b"".join(_field(8, item) for item in value) + _field(20, 7)
    return _field(1, name.encode()) + said


def _tensor(name: str, array: np.ndarray) -> bytes:
    little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    dimensions = b"".join(_field(1, size) for size in array.shape)
    return b"".join(
        [
            dimensions,
            _field(2, DATA_TYPES[array.dtype.name]),
            _field(8, name.encode()),
            _field(9, little.tobytes()),
        ]
    )


def _value(value: Value) -> bytes:
    dimensions = [_field(2, BATCH.encode()), *(_field(1, size) for size in value.shape)]
    shape = b"".join(_field(1, dimension) for dimension in dimensions)
    tensor = _field(1, DATA_TYPES[value.dtype]) + _field(2, shape)
    return _field(1, value.name.encode()) + _field(2, _field(1, tensor))


def _field(number: int, value: int | bytes) -> bytes:
    """Return one field: a number as a varint (wire type 0), bytes behind their length (wire type 2)."""
    if isinstance(value, bytes):
        return _varint(number << 3 | 2) + _varint(len(value)) + value
    return _varint(number << 3) + _varint(value)


# --- What a file of strangers may hold: operators that are written here, and nothing that branches or repeats.

OPERATORS = frozenset([
    "Add", "AveragePool", "Cast", "Clip", "Concat", "Conv", "ConvTranspose", "Div", "Einsum", "GRU", "Gather",
    "Identity", "LSTM", "MatMul", "MaxPool", "Mul", "Pad", "RNN", "ReduceMax", "ReduceMean", "ReduceSum", "Relu",
    "Reshape", "Sigmoid", "Slice", "Softmax", "Squeeze", "Sub", "Tanh", "Tile", "Transpose", "Unsqueeze",
])  # fmt: skip
"""All that `onnx_layers` writes: none of them holds a graph of its own, and none makes a shape out of a value."""
GRAPH, NODE, OPERATOR, ATTRIBUTE = 7, 1, 4, 5
"""Fields of a ModelProto, of its GraphProto, of a NodeProto in that."""
MODEL_FIELDS = frozenset([1, 2, 3, GRAPH, 8, 14])
GRAPH_FIELDS = frozenset([NODE, 2, 5, 11, 12])
NODE_FIELDS = frozenset([1, 2, 3, OPERATOR, ATTRIBUTE])
ATTRIBUTE_FIELDS = frozenset([1, 2, 3, 4, 8, 20])
"""What `model_bytes` writes (and the version of a producer, 3); all else could hold a graph, a function, a domain."""
SHORT, LONG = 5, 1
"""Wire types of 4 and 8 bytes."""
LONGEST_KEY = 2**32
"""protobuf drops what is above, so that a larger key would be another field to it."""


def strange_parts(content: bytes) -> list[str]:
    """Return what in an ONNX file is not of a kind that is written here; [] for a file of ours.

    Looks at operators and at what could hold further ones: a loop in a file of strangers would never end, and nothing
    ends it from outside.

    Raises:
        ValueError: The bytes are no protobuf message.
    """
    found: dict[str, None] = {}
    graphs = 0
    for number, value in _fields(memoryview(content)):
        if number not in MODEL_FIELDS:
            found[f"field {number} of the file, such as functions"] = None
        elif number == GRAPH:
            graphs += 1
            found |= dict.fromkeys(_strange_graph(value))
    return [*found, *([] if graphs == 1 else [f"{graphs} graphs"])]


def _strange_graph(graph: int | memoryview) -> Iterator[str]:
    for number, node in _fields(graph):
        if number not in GRAPH_FIELDS:
            yield f"field {number} of the graph"
        elif number == NODE:
            for part, value in _fields(node):
                if part not in NODE_FIELDS:
                    yield f"field {part} of an operator, such as another domain"
                elif part == OPERATOR:
                    name = "" if isinstance(value, int) else bytes(value[:40]).decode("ascii", "replace")
                    if name not in OPERATORS:
                        yield f"the operator {name}"
                elif part == ATTRIBUTE:
                    for kind, _value in _fields(value):
                        if kind not in ATTRIBUTE_FIELDS:
                            yield f"field {kind} of an attribute, such as a graph inside an operator"


def _fields(message: int | memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield number and value of each field of a message.

    Raises:
        ValueError: It is none.
    """
    if isinstance(message, int):
        raise ValueError("a number in the place of a message")  # noqa: TRY004  # bytes are wrong, no type of ours
    place = 0
    while place < len(message):
        key, place = _read_varint(message, place)
        number, wire = key >> 3, key & 7
        if not 0 < key < LONGEST_KEY or not number:
            raise ValueError(f"a field of number {number}")
        if wire == 0:
            value, place = _read_varint(message, place)
            yield number, value
            continue
        if wire == 2:
            size, place = _read_varint(message, place)
        elif wire in (SHORT, LONG):
            size = 4 if wire == SHORT else 8
        else:
            raise ValueError(f"wire type {wire}")
        if size > len(message) - place:
            raise ValueError("a field that ends early")
        yield number, message[place : place + size]
        place += size


def _read_varint(message: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(message):
            break
        group = message[place]
        place += 1
        value |= (group & 0x7F) << shift
        if group < 0x80:
            return value, place
    raise ValueError("a number that ends early")


def _varint(value: int) -> bytes:
    """Return a whole number in groups of seven bits, the lowest first; negative ones as 64 bits in two's complement."""
    left = value & 0xFFFFFFFFFFFFFFFF
    groups = bytearray()
    while left > 0x7F:
        groups.append(left & 0x7F | 0x80)
        left >>= 7
    groups.append(left)
    return bytes(groups)

"""The ONNX format: nodes and arrays as the bytes of one protobuf message, and nothing more of protobuf than that.

Written here, since the format is small and the bytes must follow from the model alone: protobuf's own libraries promise
no order of fields, and every version of a model carries the digest of this file.

Source: onnx.proto of ONNX 1.15 (field numbers, types), and the wire format of Protocol Buffers.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
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


def _varint(value: int) -> bytes:
    """Return a whole number in groups of seven bits, the lowest first; negative ones as 64 bits in two's complement."""
    left = value & 0xFFFFFFFFFFFFFFFF
    groups = bytearray()
    while left > 0x7F:
        groups.append(left & 0x7F | 0x80)
        left >>= 7
    groups.append(left)
    return bytes(groups)

"""The Open Inference Protocol (KServe V2): tensors, one for each field of a record, in as JSON or bytes, out as JSON.

Fields beside the main one have a dot: `side.age`, `known.price`. A tensor's first dimension counts records.
Protocol: https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.inputs.record_columns import FIELDS, as_record, columns_beside, main_field
from pipeline.serving.bodies import Item, json_content, listed, refuse, require_few
from pipeline.serving.record import Record
from pipeline.serving.scorer import Answer

Tensor = dict[str, Any]
DATATYPES = ("BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64",
             "BYTES")  # fmt: skip
BINARY = {
    "BOOL": "?", "UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "INT8": "i1", "INT16": "<i2",
    "INT32": "<i4", "INT64": "<i8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip
"""Datatype to NumPy's, in the binary extension."""
MOST_DIMENSIONS = 8


def metadata(
    name: str, version: str, state: Mapping[str, Any], example: Record, answer: Answer
) -> dict[str, Any]:
    """Return what a model reads and answers, as the protocol tells it.

    Args:
        name: Of the model.
        version: Its version; "" for none.
        state: Content of its state.json.
        example: A record.
        answer: To the example.
    """
    inputs = [
        {"name": field, "datatype": "FP64" if field == "series" else "BYTES", "shape": [-1, *_shape(value)]}
        for field, value in example.items()
        if not isinstance(value, Mapping)
    ]
    for key, columns in columns_beside(state).items():
        inputs += [
            {
                "name": f"{key}.{column}",
                "datatype": "FP64" if kind == "number" or key == "known" else "BYTES",
                "shape": [-1],
            }
            for column, kind in columns.items()
        ]
    outputs = [
        {"name": one["name"], "datatype": one["datatype"], "shape": [-1, *one["shape"][1:]]}
        for one in tensors_of([answer])
    ]
    return {
        "name": name,
        "versions": [version] if version else [],
        "platform": "millrace_onnxruntime",
        "inputs": inputs,
        "outputs": outputs,
    }


def _shape(value: Any) -> list[int]:
    # Longer series are read as well.
    return [-1, len(value[0])] if isinstance(value, list) else []


def content_of(body: bytes, json_bytes: str | None, state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request as JSON content, whose tensors may follow it as bytes (the protocol's binary extension).

    Args:
        body: Of the request.
        json_bytes: Header `Inference-Header-Content-Length`: how many bytes are JSON; None: all.
        state: Of the model: text of an image model may be the bytes of a file.

    Raises:
        HTTPException: 400, the sizes do not fit the body, or bytes are no values of their datatype.
    """
    if json_bytes is None:
        return json_content(body)
    if not (json_bytes.isascii() and json_bytes.isdigit()) or int(json_bytes[:20]) > len(body):
        raise refuse(
            400,
            f"Expected Inference-Header-Content-Length of at most {len(body)}, the bytes of the body. Received: "
            f"{json_bytes[:40]!r}.",
        )
    content, place = json_content(body[: int(json_bytes)]), int(json_bytes)
    tensors, files = content.get("inputs"), main_field(state) == "image"
    for tensor in tensors if isinstance(tensors, list) else []:
        settings = tensor.get("parameters") if isinstance(tensor, dict) else None
        size = settings.get("binary_data_size") if isinstance(settings, dict) else None
        if size is None:
            continue
        if type(size) is not int or not 0 <= size <= len(body) - place:
            raise refuse(
                400, f"Expected binary_data_size of at most {len(body) - place}. Received: {str(size)[:40]}."
            )
        tensor["data"] = _read(body[place : place + size], tensor.get("datatype"), files=files)
        place += size
    if place != len(body):
        raise refuse(400, f"Expected no bytes behind the last tensor. Received: {len(body) - place}.")
    return content


def _read(content: bytes, datatype: Any, *, files: bool) -> list[Any]:
    """Return the values of a tensor that came as bytes: little-endian; BYTES with the length of each before it."""
    if datatype in BINARY:
        kind = np.dtype(BINARY[datatype])
        if len(content) % kind.itemsize:
            raise refuse(
                400, f"Expected {datatype} values of {kind.itemsize} bytes. Received: {len(content)} bytes."
            )
        values: list[Any] = np.frombuffer(content, kind).tolist()
        return values
    if datatype != "BYTES":
        raise refuse(400, f"Expected a datatype ({', '.join(DATATYPES)}). Received: {str(datatype)[:40]!r}.")
    found: list[Any] = []
    place = 0
    while place < len(content):
        size = int.from_bytes(content[place : place + 4], "little")
        value = content[place + 4 : place + 4 + size]
        if len(value) < size or place + 4 > len(content):
            raise refuse(
                400,
                f"Expected BYTES with their length before each. Received: {len(content)} bytes that end early.",
            )
        try:
            found.append(value.decode("ascii" if files else "utf-8"))
        except UnicodeDecodeError as error:
            if not files:
                raise refuse(
                    400, f"Expected BYTES of UTF-8. Received: others at value {len(found)}."
                ) from error
            found.append(value)  # an image file as it is
        place += 4 + size
    return found


def records_of(content: Mapping[str, Any], state: Mapping[str, Any], most: int) -> list[Item]:
    """Return the records of a request.

    Raises:
        HTTPException: 400, it is no request of the protocol; 413, it holds too many.
    """
    tensors = content.get("inputs")
    if not isinstance(tensors, list) or not tensors or not all(isinstance(one, dict) for one in tensors):
        raise refuse(400, "Expected inputs: a list of tensors (name, datatype, shape, data).")
    columns: dict[str, list[Any]] = {}
    for tensor in tensors:
        name, values = _values(tensor, most)
        columns[name] = values
    if len({len(values) for values in columns.values()}) != 1:
        shown = ", ".join(f"{name}: {len(values)}" for name, values in columns.items())
        raise refuse(400, f"Tensors of one request hold as many records. Received: {shown[:500]}.")
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    beside = [(key, name) for key, names in columns_beside(state).items() for name in names]
    plain = [name for _, name in beside if name not in FIELDS]
    read = {
        main_field(state),
        "time",
        "id",
        "pooled_scale",
        *plain,
        *(f"{key}.{name}" for key, name in beside),
    }
    unknown = sorted(columns.keys() - read)
    if unknown:
        raise refuse(
            400, f"Unknown inputs {', '.join(unknown)[:200]}. Expected some of {', '.join(sorted(read))}."
        )
    return [item._replace(record=as_record(item.record, state)) for item in listed(rows, most)]


def _values(tensor: Mapping[str, Any], most: int) -> tuple[str, list[Any]]:
    """Return name and values of a tensor, a list for each record; data may be flat or nested."""
    name, shape, data, datatype = (tensor.get(key) for key in ("name", "shape", "data", "datatype"))
    if (
        not isinstance(name, str)
        or not (isinstance(shape, list) and 0 < len(shape) <= MOST_DIMENSIONS)
        or not all(type(size) is int and size >= 0 for size in shape)
        or not isinstance(data, list)
        or datatype not in DATATYPES
    ):
        raise refuse(
            400,
            f"Expected a tensor: name, shape (whole numbers), datatype ({', '.join(DATATYPES)}), data (a list). "
            f"Received: {', '.join(sorted(map(str, tensor)))[:200] or 'nothing'} of other kinds.",
        )
    # Before anything is made of a number that a client wrote.
    require_few(shape[0], most)
    flat = _flat(data)
    if len(flat) != math.prod(shape):
        raise refuse(
            400, f"Tensor {name!r:.80} has shape {shape}. Expected as many values. Received: {len(flat)}."
        )
    if len(shape) == 1:
        return name, flat
    made = np.empty(len(flat), object)
    made[:] = flat
    return name, list(made.reshape(shape).tolist()) if flat else [[]] * shape[0]


def _flat(data: list[Any]) -> list[Any]:
    while data and all(isinstance(value, list) for value in data):
        data = [value for inner in data for value in inner]
    return data


def tensors_of(answers: Sequence[Answer]) -> list[Tensor]:
    """Return answers as tensors, one for each of their fields; an object becomes one for each of its keys.

    Probabilities are one tensor, its columns named in `parameters`; lists of labels are BYTES, joined by `;`.
    """
    made: list[Tensor] = []
    for name, value in answers[0].items():
        values = [answer[name] for answer in answers]
        if name in ("probabilities", "thresholds"):
            table = [list(one.values()) for one in values]
            made.append(_tensor(name, table) | {"parameters": {"columns": list(value)}})
        elif isinstance(value, dict):
            made += [_tensor(f"{name}.{key}", [one[key] for one in values]) for key in value]
        elif name == "labels":
            made.append(_tensor(name, [";".join(one) for one in values]))
        else:
            made.append(_tensor(name, values))
    return made


def _tensor(name: str, values: list[Any]) -> Tensor:
    array = np.array(values)
    datatype = {"b": "BOOL", "f": "FP64", "i": "INT64"}.get(array.dtype.kind, "BYTES")
    return {"name": name, "datatype": datatype, "shape": list(array.shape), "data": array.ravel().tolist()}

"""What one model reads and answers, told to strangers: an example, JSON Schema, and an OpenAPI document with both.

All of it follows from the `state.json` that travels with the model, so that it cannot tell of another one. The example
is made up (a gradient, words of the vocabulary, means of channels): no row of anybody's data is shown.
"""

import base64
import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.inputs.record_columns import (
    State,
    columns_beside,
    main_field,
    reads_steps,
    reads_time,
    series_ids,
)
from pipeline.serving.record import Record

JsonSchema = dict[str, Any]
EXAMPLE_TIME = "2026-01-05T14:00:00"
NUMBER, TEXT = {"type": ["number", "null"]}, {"type": ["string", "null"]}
WORDS = 5


def example_record(state: State) -> Record:
    """Return a record that the model answers, as JSON has it."""
    record: dict[str, Any] = {}
    if reads_steps(state):
        made = {"image": _image, "text": _text, "series": _steps}[main_field(state)]
        record[main_field(state)] = made(state)
    windows = state.get("windows")
    if windows:
        if reads_time(state):
            record["time"] = EXAMPLE_TIME + ("+00:00" if windows.get("utc") else "")
        if ids := series_ids(state):
            record["id"] = ids[0]
    side = state.get("side") or {}
    means = {column["name"]: round(float(column["mean"]), 3) for column in side.get("numbers", [])}
    first = {column["name"]: next(iter(column["values"]), None) for column in side.get("categories", [])}
    for key, columns in columns_beside(state).items():
        if columns:
            told = means | first if key == "side" else {}
            record[key] = {
                name: told.get(name, 0 if kind == "number" else None) for name, kind in columns.items()
            }
    return record


def _image(state: State) -> str:
    from PIL import Image

    height, width, channels = state["image"]["shape"]
    ramp = np.linspace(0, 255, height * width).astype(np.uint8).reshape(height, width)
    file = io.BytesIO()
    Image.fromarray(ramp if channels == 1 else np.stack([ramp] * channels, axis=-1)).save(file, "png")
    return base64.b64encode(file.getvalue()).decode()


def _text(state: State) -> str:
    tokens = (state.get("text") or {}).get("tokens") or {}
    words = [word for word in tokens.get("vocabulary") or () if isinstance(word, str) and word.strip()]
    return " ".join(words[:WORDS]) or "a text"


def _steps(state: State) -> list[list[float]]:
    series, windows = state["series"], state.get("windows")
    count = windows["length"] if windows else series["max_length"]
    return [[round(float(mean), 4) for mean in series["mean"]]] * count


def record_schema(state: State) -> JsonSchema:
    """Return the JSON Schema of a record."""
    field, properties, required = main_field(state), dict[str, JsonSchema](), list[str]()
    if reads_steps(state):
        required.append(field)
        properties[field] = {"image": _image_schema, "text": _text_schema, "series": _series_schema}[field](
            state
        )
    if state.get("windows"):
        if reads_time(state):
            required.append("time")
            offset = "with" if state["windows"].get("utc") else "without"
            told = f"ISO 8601, {offset} an offset: when the first step to predict is"
            properties["time"] = {"type": "string", "description": told}
        if ids := series_ids(state):
            required.append("id")
            properties["id"] = {"type": "string", "description": "which series it is", "examples": ids[:3]}
            told = "true for a series that was not there at training: the scale of all"
            properties["pooled_scale"] = {"type": "boolean", "description": told}
        elif state.get("task") == "anomaly":
            properties["id"] = {"type": "string", "description": "which series it is, for its own threshold"}
    for key, columns in columns_beside(state).items():
        if columns:
            kinds = {
                name: NUMBER if kind == "number" or key == "known" else TEXT for name, kind in columns.items()
            }
            properties[key] = {
                "type": "object",
                "properties": kinds,
                "description": "what is left out is missing",
            }
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "examples": [example_record(state)],
    }


def _image_schema(state: State) -> JsonSchema:
    height, width, channels = state["image"]["shape"]
    told = f"an image file as base64, brought to {height} x {width} pixels, {channels} channels as the data was; "
    return {
        "description": f"{told}or these pixels, 0 to 255, as nested lists",
        "anyOf": [
            {"type": "string", "contentEncoding": "base64", "contentMediaType": "image/*"},
            {"type": "array"},
        ],
    }


def _text_schema(_state: State) -> JsonSchema:
    return {"type": "string"}


def _series_schema(state: State) -> JsonSchema:
    series, windows = state["series"], state.get("windows")
    channels = len(series["channels"])
    fewest = windows["length"] if windows else 1 if series["has_padding"] else series["max_length"]
    step = {"type": "array", "items": NUMBER, "minItems": channels, "maxItems": channels}
    return {
        "type": "array",
        "minItems": fewest,
        "items": {"anyOf": [step, NUMBER]} if channels == 1 else step,
        "description": f"steps, each a list of {', '.join(series['channels'])}; null where a value is missing",
    }


REPLIES = {
    200: "answered",
    400: "no such body",
    401: "no token",
    413: "too large",
    415: "another kind of body",
    422: "no record could be answered",
    503: "busy; see Retry-After",
    504: "too slow",
}
PROBABILITY = {"type": "number", "minimum": 0, "maximum": 1}


def answer_schema(state: State, answer: Mapping[str, Any]) -> JsonSchema:
    """Return the JSON Schema of an answer, by the answer to the example."""
    kinds: list[tuple[type, JsonSchema]] = [
        (bool, {"type": "boolean"}), (str, {"type": "string"}), (list, {"type": "array"}), (dict, {"type": "object"})
    ]  # fmt: skip

    def kind_of(value: Any) -> JsonSchema:
        return next((schema for kind, schema in kinds if isinstance(value, kind)), {"type": "number"})

    properties = {name: kind_of(value) for name, value in answer.items()}
    if state.get("task", "classification") == "classification":
        properties["class"] = {"type": "string", "enum": list(state["classes"])}
        properties["probability"] = PROBABILITY
    return {"type": "object", "properties": properties, "examples": [dict(answer)]}


def _one_of_mlflow(row: JsonSchema, records: int) -> JsonSchema:
    """Return the JSON Schema of what MLflow's servers take: exactly one of four forms."""
    listed = {"type": "array", "items": row, "minItems": 1, "maxItems": records}
    split = {
        "type": "object",
        "properties": {
            "columns": {"type": "array", "items": {"type": "string"}},
            "data": {"type": "array", "items": {"type": "array"}, "minItems": 1, "maxItems": records},
        },
        "required": ["columns", "data"],
    }
    columns = {
        "type": "object",
        "additionalProperties": {"type": "array", "minItems": 1, "maxItems": records},
    }
    forms = {"dataframe_records": listed, "dataframe_split": split, "instances": listed, "inputs": columns}
    return {
        "oneOf": [
            {"type": "object", "properties": {name: form}, "required": [name]} for name, form in forms.items()
        ]
    }


def _tensors_asked(example: Record) -> JsonSchema:
    """Return the JSON Schema of a request of the Open Inference Protocol."""
    names = [field for field, value in example.items() if not isinstance(value, Mapping)]
    tensor = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "examples": names},
            "datatype": {"type": "string", "examples": ["BYTES", "FP64"]},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1},
            "data": {"type": "array"},
        },
        "required": ["name", "datatype", "shape", "data"],
    }
    return {
        "type": "object",
        "properties": {"id": {"type": "string"}, "inputs": {"type": "array", "items": tensor, "minItems": 1}},
        "required": ["inputs"],
    }


def openapi(state: State, answer: Mapping[str, Any], *, title: str, version: str, records: int) -> JsonSchema:
    """Return the OpenAPI 3.1 document of a server of this model.

    Args:
        state: Content of its state.json.
        answer: What it answers to the example.
        title: Name of the model.
        version: Its version.
        records: How many a request may hold.
    """
    example, field = example_record(state), main_field(state)

    def body(schema: JsonSchema, shown: Any = None) -> JsonSchema:
        return {"schema": schema} | ({} if shown is None else {"example": shown})

    def answers(*codes: int, schema: JsonSchema | None = None) -> JsonSchema:
        return {
            str(code): {"description": REPLIES[code]}
            | ({"content": {"application/json": body(schema)}} if schema and code in (200, 422) else {})
            for code in codes
        }

    listed = {"type": "array", "minItems": 1, "maxItems": records}
    one = {"$ref": "#/components/schemas/Record"}
    asked = {"type": "object", "required": ["records"], "properties": {"records": listed | {"items": one}}}
    accepted = {"application/json": body(asked, {"records": [example]})}
    if field == "image":
        binary = {"type": "string", "format": "binary"}
        accepted["image/*"] = body(binary)
        accepted["multipart/form-data"] = body({"type": "object", "additionalProperties": binary})
    else:
        accepted["text/csv"] = body({"type": "string"})
    if field == "text":
        accepted["text/plain"] = body({"type": "string"}, example["text"])
    posted = (200, 400, 401, 413, 415, 422, 503, 504)
    replied = {"$ref": "#/components/schemas/Answers"}

    def post(summary: str, content: JsonSchema, schema: JsonSchema | None = None) -> JsonSchema:
        return {
            "post": {
                "summary": summary,
                "requestBody": {"required": True, "content": content},
                "responses": answers(*posted, schema=schema),
            }
        }

    def get(summary: str) -> JsonSchema:
        return {"get": {"summary": summary, "responses": answers(200, 503)}}

    row = {"type": "object", "description": "the fields of a record, and columns beside by their own names"}
    rows = {"application/json": body(_one_of_mlflow(row, records), {"dataframe_records": [example]})}
    tensors = {"application/json": body(_tensors_asked(example))}
    return {
        "openapi": "3.1.0",
        "info": {"title": f"{title}, served by Millrace", "version": version or "unregistered"},
        "paths": {
            "/predict": post("Answers for records", accepted, replied),
            "/invocations": post("The same, in the words of MLflow", rows),
            f"/v2/models/{title}/infer": post(
                "The same, in the words of the Open Inference Protocol", tensors
            ),
            "/model": get("Which model answers, and what it reads"),
            "/health/live": get("The process runs"),
            "/health/ready": get("It answers requests"),
            "/metrics": get("Counts and times, as Prometheus reads them"),
        },
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                "Record": record_schema(state),
                "Answer": answer_schema(state, answer),
                "Answers": {
                    "type": "object",
                    "description": "`answers` has one for each record in order, null where `refused` says why not",
                    "properties": {
                        "answers": {
                            "type": "array",
                            "items": {"anyOf": [{"$ref": "#/components/schemas/Answer"}, {"type": "null"}]},
                        },
                        "refused": {
                            "type": "array",
                            "items": {
                                "type": "object",
                                "properties": {
                                    "index": {"type": "integer"},
                                    "place": {"type": "string"},
                                    "problems": {"type": "array", "items": {"type": "string"}},
                                },
                            },
                        },
                    },
                },
            },
        },
    }

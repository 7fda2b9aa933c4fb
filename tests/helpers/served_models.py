"""Folders like models/best without any training: a linear map of whatever a model reads, written as ONNX."""

import asyncio
import contextlib
import os
from pathlib import Path

import httpx
import numpy as np

from pipeline.evaluation.golden import GOLDEN_ANSWERS, write_npz
from pipeline.export.onnx_file import FLOAT, Value, model_bytes
from pipeline.export.onnx_graph import Graph
from pipeline.export.onnx_session import NUMBERS_PER_SAMPLE, OnnxModel
from pipeline.inference.prediction import answers
from pipeline.inputs.specs import kinds_read, output_spec
from pipeline.runtime import paths
from pipeline.runtime.files import read_json, write_json
from pipeline.serving.described import example_record
from pipeline.serving.record import Transform

DIGITS = {
    "payload": "image",
    "task": "classification",
    "classes": ["dark", "grey", "light"],
    "class_counts": [10, 10, 10],
    "image": {"shape": [8, 8, 1], "mean": [0.3], "standard_deviation": [0.4]},
    "data": {"image_size": [8, 8], "channels": 1, "resize": "pad", "policy": {"undecodable": "reject"}},
}
"""A state of images, as the features stage writes it."""
FAMILIES = {"image": "cnn", "text": "dense", "series": "rnn"}


def write_model(folder: Path, state: dict, *, seed: int = 0, family: str = "") -> Path:
    """Write a model that can answer; another seed gives other answers.

    Args:
        folder: Like models/best.
        state: Content of its state.json.
        seed: Of its weights.
        family: As whose it reads records.
    """
    folder.mkdir(parents=True, exist_ok=True)
    family = family or FAMILIES[state.get("payload", "image")]
    settings = {"family": family, "training": {"test_time_flip": False}, "seed": seed, "threads": 1}
    write_json(folder / "settings.json", settings)
    write_json(folder / "state.json", state)
    task = state.get("task", "classification")
    point = {"thresholds": {"(all)": 0.5}} if task == "anomaly" else {}
    card = {"task": task, "operating_point": point, "candidate": "linear", "family": family}
    write_json(folder / "card.json", card)
    example = Transform(state, kinds_read(state, settings))(example_record(state))
    shares = np.linspace(1, 0.25, 4)
    inputs = {
        name: (array * shares.reshape(-1, *[1] * (array.ndim - 1))).astype(array.dtype)
        for name, array in example.items()
    }
    content = _linear(inputs, state, np.random.default_rng(seed))
    (folder / "model.onnx").write_bytes(content)
    model = OnnxModel(folder / "model.onnx", content)
    only = next(iter(inputs.values())) if len(inputs) == 1 else inputs
    given = answers(model, only, np.arange(4), settings["training"], output_spec(state))
    write_npz(folder / "golden.npz", inputs | {GOLDEN_ANSWERS: given})
    return folder


def _linear(inputs: dict[str, np.ndarray], state: dict, random: np.random.Generator) -> bytes:
    """Return an ONNX file: weighted sums of all inputs; probabilities of classes, numbers, or the steps once more."""
    spec, task, graph = output_spec(state), state.get("task", "classification"), Graph()
    shape = {
        "classification": (len(spec.classes),),
        "multilabel": (len(spec.classes),),
        "regression": (spec.num_targets,),
        "forecasting": (spec.horizon, spec.num_targets),
    }.get(task, inputs["inputs"].shape[1:])
    width, parts = int(np.prod(shape)), []
    for name, array in inputs.items():
        graph.begin(name)
        size = int(np.prod(array.shape[1:]))
        flat = graph.reshaped(graph.op("Cast", graph.known(name, str(array.dtype)), to=FLOAT), [size])
        large = 255 if array.dtype == np.uint8 else 50 if array.dtype == np.int32 else 1
        parts.append(
            graph.op("MatMul", flat, graph.constant(random.normal(size=(size, width)) / large / size**0.5))
        )
    last = parts[0]
    for part in parts[1:]:
        last = graph.op("Add", last, part)
    if task in ("classification", "multilabel"):
        last = graph.op("Softmax", last, axis=-1) if task == "classification" else graph.op("Sigmoid", last)
    last = graph.reshaped(last, shape)
    output = graph.op("Identity", last)
    return model_bytes(
        "linear",
        graph.nodes,
        graph.constants,
        inputs=[Value(name, str(array.dtype), array.shape[1:]) for name, array in inputs.items()],
        output=Value(output, "float32", shape),
        metadata={NUMBERS_PER_SAMPLE: "1000"},
    )


def state_of(write, folder: Path) -> dict:
    """Return the state that the features stage writes for the data that a function writes into the working directory."""
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.chdir(folder):
        write()
        return read_json(paths.FEATURES_STATE)


class Client:
    """Asks an application without sockets, one request at a time."""

    def __init__(self, app):
        self._app = app

    def get(self, path, **given):
        return self.request("GET", path, **given)

    def post(self, path, **given):
        return self.request("POST", path, **given)

    def post_all(self, path, bodies, headers):
        """Return the replies to some bodies, asked one after the other in one event loop."""

        async def ask():
            async with self._client() as client:
                return [await client.post(path, content=body, headers=headers) for body in bodies]

        return asyncio.run(ask())

    def request(self, method, path, **given):
        async def ask():
            async with self._client() as client:
                return await client.request(method, path, **given)

        return asyncio.run(ask())

    def _client(self):
        transport = httpx.ASGITransport(self._app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://server")


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a server in a process of its own."""
    return os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])} | more

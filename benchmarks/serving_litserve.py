"""LitServe on a model of ours, for `benchmarks/serving.py --litserve`; its packages are no part of the project.

`PYTHON benchmarks/serving_litserve.py FOLDER PORT`. A module of its own: LitServe's worker is another process, which
imports it again.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import litserve

from pipeline.serving.scorer import Scorer

BATCH = 32


class Api(litserve.LitAPI):
    """One record in, one answer out; what waits is answered together."""

    def setup(self, _device: str) -> None:
        """Open the model, in the worker."""
        self._scorer = Scorer(Path(sys.argv[1]))

    def decode_request(self, request: dict) -> dict:
        """Return the record of a request like one of `/predict`."""
        return request["records"][0]

    def batch(self, inputs: list[dict]) -> list[dict]:
        """Return records as they are: the scorer takes a list."""
        return inputs

    def predict(self, records: list[dict]) -> list[dict]:
        """Return the answers."""
        return self._scorer.answers(records)

    def unbatch(self, output: list[dict]) -> list[dict]:
        """Return answers as they are."""
        return output

    def encode_response(self, output: dict) -> dict:
        """Return the reply of `/predict`."""
        return {"answers": [output], "refused": []}


if __name__ == "__main__":
    api = Api(max_batch_size=BATCH, batch_timeout=0.0, api_path="/predict")
    server = litserve.LitServer(api, accelerator="cpu", healthcheck_path="/health/ready", timeout=60)
    server.run(
        "127.0.0.1", int(sys.argv[2]), num_api_servers=1, generate_client_file=False, log_level="error"
    )

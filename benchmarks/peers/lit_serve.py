"""LitServe around the same encoders, with its own batching: at most 32 items, waited for 10 ms.

python -m benchmarks.peers.lit_serve BUNDLE DTYPE KIND PORT

LitServe hands a batch to one call, so that a server of it embeds one kind of media.
"""

import base64
import sys
from typing import Any

import litserve

from connectors import load_bundle


class Embed(litserve.LitAPI):
    """One kind of media in, unified vectors out."""

    def __init__(self, bundle: str, dtype: str, kind: str) -> None:
        super().__init__(max_batch_size=32, batch_timeout=0.01, api_path="/embed")
        self._bundle, self._dtype, self._kind = bundle, dtype, kind

    def setup(self, device: str) -> None:
        """Load the encoders, in the worker's process."""
        self._space = load_bundle(self._bundle, dtype=self._dtype)

    def decode_request(self, request: dict[str, Any]) -> Any:
        """The one item of a request, decoded."""
        [value] = request["items"][0].values()
        if self._kind == "text":
            return value
        return self._space.decode(self._kind, base64.b64decode(value))

    def batch(self, inputs: list[Any]) -> list[Any]:
        """Items of a batch stay a list."""
        return inputs

    def predict(self, batch: list[Any]) -> Any:
        """Vectors [n, D] of a batch."""
        return self._space.embed(self._kind, batch)

    def unbatch(self, output: Any) -> Any:
        """A batch's vectors, one by one."""
        return list(output)

    def encode_response(self, output: Any) -> dict[str, Any]:
        """One vector, as Isthmus writes it."""
        return {"items": [{"vector": output.tolist()}]}


if __name__ == "__main__":
    bundle, dtype, kind, port = sys.argv[1:]
    server = litserve.LitServer(Embed(bundle, dtype, kind), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(port), generate_client_file=False, log_level="error")

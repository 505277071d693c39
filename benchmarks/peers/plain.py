"""The endpoint anyone would write first: FastAPI around the same encoders, one item at a time, no batches.

python -m benchmarks.peers.plain BUNDLE [DTYPE]
"""

import base64
import socket
import sys

import uvicorn
from fastapi import FastAPI

from connectors import load_bundle


def main(bundle: str, dtype: str | None = None) -> None:
    """Serve a bundle at a free port, which is said on stderr."""
    space = load_bundle(bundle, dtype=dtype)
    app = FastAPI()

    @app.get("/readyz")
    def readyz() -> dict[str, str]:
        return {"status": "ready"}

    @app.post("/embed")
    def embed(body: dict[str, list[dict[str, str]] | bool]) -> dict[str, list[dict[str, list[float]]]]:
        items = []
        for item in body["items"]:
            [(kind, value)] = item.items()
            media = value if kind == "text" else base64.b64decode(value)
            items.append({"vector": space.embed(kind, [media])[0].tolist()})
        return {"items": items}

    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", file=sys.stderr, flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="error")).run([listener])


if __name__ == "__main__":
    main(*sys.argv[1:])

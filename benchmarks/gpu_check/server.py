"""The service without an index, at a free port: python -m benchmarks.gpu_check.server BUNDLE FOLDER.

App, middleware, engine and runtime are the service's own. What is missing is Qdrant's engine, which is larger
than all the rest: `NoIndex` stands in for a back end that has no collection yet. Requests must have `store`
false.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from service import runtime
from service.http.server import serve
from service.index.vector_index import VectorIndex
from service.settings import Settings


class NoIndex:
    """A back end without collections, which cannot be written to."""

    def current(self) -> Mapping[str, Any]:
        """No collection."""
        return {}

    def generations(self, collection: str) -> list[Any]:
        """None."""
        return []

    def ping(self) -> None:
        """Answer."""

    def close(self) -> None:
        """Nothing to let go of."""


def main(bundle: str, folder: str) -> int:
    """Serve until told to stop; the exit status. ISTHMUS_* settings hold."""

    def open_nothing(layout: Any, settings: Settings) -> VectorIndex:
        back_end: Any = NoIndex()
        return VectorIndex(back_end, layout)

    runtime.open_configured = open_nothing
    settings = Settings(bundle=bundle, port=0, data_dir=Path(folder), sweep_orphans=False)
    return serve(settings)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

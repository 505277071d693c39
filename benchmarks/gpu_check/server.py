"""The service without an index, at a free port: python -m benchmarks.gpu_check.server BUNDLE FOLDER.

App, middleware, engine and runtime are the service's own. What is missing is Qdrant, whose packages are
larger than all the rest: `NoIndex` stands in for a back end that has no collection yet, and modules of empty
classes for Qdrant's own. Requests must have `store` false.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any


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


class _Names(ModuleType):
    """A module in which every name is an empty class."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made = type(name, (Exception,), {})
        setattr(self, name, made)
        return made


def stand_in_for_qdrant() -> None:
    """Have `import qdrant_client` succeed, whether it is installed or not."""
    names = ("qdrant_client", "qdrant_client.models", "qdrant_client.http", "qdrant_client.http.exceptions")
    for name in names:
        sys.modules[name] = _Names(name)
    for name in names[1:]:
        parent, _, child = name.rpartition(".")
        setattr(sys.modules[parent], child, sys.modules[name])


def main(bundle: str, folder: str) -> int:
    """Serve until told to stop; the exit status. ISTHMUS_* settings hold."""
    stand_in_for_qdrant()
    from service import runtime
    from service.http.server import serve
    from service.index.vector_index import VectorIndex
    from service.settings import Settings

    def open_nothing(layout: Any, settings: Settings) -> VectorIndex:
        back_end: Any = NoIndex()
        return VectorIndex(back_end, layout)

    runtime.open_configured = open_nothing
    settings = Settings(bundle=bundle, port=0, data_dir=Path(folder), sweep_orphans=False)
    return serve(settings)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

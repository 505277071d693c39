"""The catalogue of an index kept in a folder: which generation each collection reads, and where its shard is.

One JSON file, replaced whole and synced at every change: after a crash it is the former or the new one.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from connectors.errors import IntegrityError
from service.durable import write_json
from service.index.backend import Generation
from service.index.protocol import Layout
from service.schemas.fields import FieldType

FORMAT = "isthmus.index/1"


@dataclass(frozen=True)
class CatalogueEntry:
    """One generation: its collection, what it was made for, and the folder its shard is in now."""

    collection: str
    generation: Generation
    shard: str
    made: int


class Catalogue:
    """The catalogue at `path`, empty where there is no file yet. Not thread-safe: its owner sees to that.

    Raises `IntegrityError` where the file is not a catalogue.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reads: dict[str, str] = {}
        self.entries: dict[str, CatalogueEntry] = {}
        if path.exists():
            self._read()

    def add(self, collection: str, generation: Generation, shard: str) -> None:
        """Enter a generation that nothing reads yet."""
        self.entries[generation.name] = CatalogueEntry(collection, generation, shard, time.time_ns())
        self._write()

    def switch(self, reads: Mapping[str, str | None]) -> None:
        """Let collections read other generations, all at once, or (None) be no more."""
        for collection, name in reads.items():
            self.reads.pop(collection, None)
            if name is not None:
                self.reads[collection] = name
        self._write()

    def move(self, name: str, shard: str) -> None:
        """Let a generation's shard be in another folder from now on."""
        self.entries[name] = replace(self.entries[name], shard=shard)
        self._write()

    def declare(self, name: str, key: str, kind: FieldType) -> None:
        """Enter one more indexed field of a generation."""
        entry = self.entries[name]
        fields = {**entry.generation.fields, key: kind}
        self.entries[name] = replace(entry, generation=replace(entry.generation, fields=fields))
        self._write()

    def remove(self, name: str) -> None:
        """Forget a generation."""
        self.entries.pop(name)
        self._write()

    def current(self) -> Mapping[str, Generation]:
        """Every collection and the generation it reads."""
        return {collection: self.entries[name].generation for collection, name in self.reads.items()}

    def _write(self) -> None:
        content = {
            "format": FORMAT,
            "reads": self.reads,
            "generations": {name: asdict(entry) for name, entry in self.entries.items()},
        }
        write_json(self.path, content)

    def _read(self) -> None:
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            if content["format"] != FORMAT:
                raise ValueError(f"its format is {content['format']}, not {FORMAT}")
            self.reads = dict(content["reads"])
            for name, raw in content["generations"].items():
                made = raw["generation"]
                generation = Generation(made["name"], Layout(**made["layout"]), made["fields"])
                self.entries[name] = CatalogueEntry(raw["collection"], generation, raw["shard"], raw["made"])
        except (ValueError, KeyError, TypeError) as error:
            raise IntegrityError(
                f"{self.path} is no index catalogue ({error}); restore it from a backup"
            ) from error

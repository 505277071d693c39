"""The gallery's items, read from `gallery.json` and the media beside it."""

import json
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from connectors.modality import Modality

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class GalleryItem:
    """One item: its point id, the name of its subject (the same word in every modality), and its bytes."""

    id: str
    modality: Modality
    name: str
    caption: str | None
    filename: str | None
    sha256: str
    data: bytes = field(repr=False)

    @property
    def metadata(self) -> dict[str, str]:
        """The metadata stored with it: for people and filters; none of it is embedded."""
        caption = {} if self.caption is None else {"caption": self.caption}
        return {"album": "gallery", "name": self.name, **caption}


@lru_cache(maxsize=1)
def gallery_items() -> tuple[GalleryItem, ...]:
    """Return every item, in the list's order: texts, sounds, pictures, shapes."""
    listing = json.loads((FOLDER / "gallery.json").read_text("utf-8"))
    return tuple(
        GalleryItem(
            id=entry["id"],
            modality=entry["modality"],
            name=entry["name"],
            caption=entry.get("caption"),
            filename=Path(entry["file"]).name if "file" in entry else None,
            sha256=entry["sha256"],
            data=(FOLDER / entry["file"]).read_bytes() if "file" in entry else entry["text"].encode(),
        )
        for entry in listing["items"]
    )

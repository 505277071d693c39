"""The demonstration: a service with the sample gallery in it.

The service runs `fill` after loading and before it is ready, so that the gallery is there once it is ready.
Only missing items are embedded, so that a second start is quick and nothing is stored twice.
"""

import logging
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from connectors.errors import IsthmusError
from service.engine.media_input import MediaInput
from service.gallery.items import GalleryItem, gallery_items
from service.pipeline import EmbedInput, Pipeline
from service.schemas.fields import DEFAULT_COLLECTION
from service.timings import Timings

log = logging.getLogger("isthmus")

SECONDS = 600.0
"""Seconds that filling an empty index may take before it is given up."""

WELCOME = """
Isthmus is ready at {url}

Three things to try:
  1. Open {url} and type "rain and thunder", or drop a sound on it.
  2. Find pictures with a text:
     curl {url}/search -H 'content-type: application/json' \\
       -d '{{"query": [{{"text": "a wooden door"}}], "target_modalities": ["image"]}}'
  3. Find what goes with a stored sound, in every modality:
     curl {url}/search -H 'content-type: application/json' \\
       -d '{{"query": [{{"id": "audio/bell"}}], "quota": 2}}'

The API is described at {url}/docs. Stop with Ctrl-C.
"""


async def fill(pipeline: Pipeline) -> None:
    """Embed and store the gallery's items that the index does not hold as they are now."""
    started = time.perf_counter()
    timings = Timings()
    wanted = [item for item in gallery_items() if item.modality in pipeline.space.modalities]
    ids = [item.id for item in wanted]
    found = await pipeline.call_index(timings, partial(pipeline.index.get, DEFAULT_COLLECTION, ids, False))
    connector = pipeline.space.connector_version
    known = {point.id: point.payload for point in found}
    missing = [item for item in wanted if not _is_current(known.get(item.id), item, connector)]
    if not missing:
        return
    inputs = [EmbedInput(_input(item), item.id, dict(item.metadata)) for item in missing]
    outcomes = await pipeline.embed(timings, [each.media for each in inputs], SECONDS)
    outcomes, _ = await pipeline.store(timings, DEFAULT_COLLECTION, inputs, outcomes)
    for item, outcome in zip(missing, outcomes, strict=True):
        if isinstance(outcome, IsthmusError):
            log.warning("the gallery's %s could not be stored: %s", item.id, outcome.message)
    log.info("the gallery is in: %d items in %.1f s", len(missing), time.perf_counter() - started)


def _is_current(payload: Mapping[str, Any] | None, item: GalleryItem, connector: str) -> bool:
    """Return whether a stored point is this item, embedded with the connector in use."""
    return payload is not None and payload["sha256"] == item.sha256 and payload["connector"] == connector


def _input(item: GalleryItem) -> MediaInput:
    if item.modality == "text":
        return MediaInput.text(item.data.decode(), item.id)
    name = item.filename or item.id
    return MediaInput(item.data, len(item.data), name, None, item.modality, name)

"""The demonstration: a service with the sample gallery in it.

`fill` is run by the service between loading and being ready, so that whoever sees it ready finds the gallery.
It embeds only what is not there yet, so that a second start is quick and nothing is stored twice.
"""

import logging
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from connectors.errors import IsthmusError
from service.bodies import DEFAULT_COLLECTION
from service.engine.media_input import MediaInput
from service.entry import Entry, embed_inputs, store
from service.gallery.items import GalleryItem, gallery_items
from service.request_context import RequestContext
from service.runtime import Runtime

log = logging.getLogger("isthmus")

SECONDS = 600.0
"""How long filling an empty index may take before it is given up."""

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


async def fill(runtime: Runtime) -> None:
    """Embed and store the gallery's items that the index does not hold as they are now."""
    started = time.perf_counter()
    context = RequestContext()
    wanted = [item for item in gallery_items() if item.modality in runtime.space.modalities]
    ids = [item.id for item in wanted]
    found = await runtime.call_index(context, partial(runtime.index.get, DEFAULT_COLLECTION, ids, False))
    connector = runtime.space.connector_version
    known = {point.id: point.payload for point in found}
    missing = [item for item in wanted if not _is_current(known.get(item.id), item, connector)]
    if not missing:
        return
    entries = [Entry(_input(item), item.id, dict(item.metadata)) for item in missing]
    outcomes = await embed_inputs(runtime, context, [entry.item for entry in entries], SECONDS)
    for item, outcome in zip(missing, outcomes, strict=True):
        if isinstance(outcome, IsthmusError):
            log.warning("the gallery's %s could not be embedded: %s", item.id, outcome.message)
    await store(runtime, context, DEFAULT_COLLECTION, entries, outcomes)
    log.info("the gallery is in: %d items in %.1f s", len(missing), time.perf_counter() - started)


def _is_current(payload: Mapping[str, Any] | None, item: GalleryItem, connector: str) -> bool:
    """Whether a stored point is this item, embedded by what is in use."""
    return payload is not None and payload["sha256"] == item.sha256 and payload["connector"] == connector


def _input(item: GalleryItem) -> MediaInput:
    if item.modality == "text":
        return MediaInput.text(item.data.decode(), item.id)
    name = item.filename or item.id
    return MediaInput(item.data, len(item.data), name, None, item.modality, name)

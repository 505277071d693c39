"""The choice of connectors at the start: those to serve with first, and those wanted.

`plan_start` decides from the bundle's space, the releases and the index. The release activated last precedes
the bundle's own, and the connector that the index holds is served until it is refreshed.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from connectors.errors import ArtifactError
from connectors.space import UnifiedSpace
from service.errors import CollectionConflict, ConnectorUnfit, NotFound
from service.index.backend import Generation
from service.index.protocol import Layout
from service.releases.store import Release, ReleaseStore, check_encoders

log = logging.getLogger("isthmus")


@dataclass(frozen=True)
class Start:
    """The space served first, and the release wanted; `refresh_first` where nothing can be served before."""

    space: UnifiedSpace
    wanted: Release
    refresh_first: bool = False


def plan_start(
    store: ReleaseStore,
    bundled: UnifiedSpace,
    connectors: str | None,
    current: Mapping[str, Generation],
) -> Start:
    """Decide what to serve.

    Raises `FingerprintMismatch` where the index holds native vectors of other encoders than the bundle's,
    `CollectionConflict` where that is unknown, and what `Release.load` does for the connectors wanted.
    """
    active = store.active()
    if active.version is not None and active.connectors == connectors:
        wanted = store.find(active.version)
        space = wanted.load(bundled)
    else:
        wanted, space = store.bundled(connectors), bundled
    fingerprints = fingerprints_of(bundled)
    held: dict[str, UnifiedSpace | None] = {}
    for collection, generation in current.items():
        version = generation.layout.connector
        if version == wanted.version:
            check_encoders(wanted, fingerprints)
            held[version] = space
        elif version not in held:
            release = _release_of(store, collection, version)
            check_encoders(release, fingerprints)
            try:
                held[version] = release.load(bundled)
            except (ArtifactError, ConnectorUnfit) as error:
                log.warning("connector %s cannot be served any more: %s", version, error.message)
                held[version] = None
    if not set(held) - {wanted.version}:
        return Start(space, wanted)
    if len(held) == 1 and (served := next(iter(held.values()))) is not None:
        return Start(served, wanted)
    return Start(space, wanted, refresh_first=True)


def layout_of(space: UnifiedSpace) -> Layout:
    """Return the layout of an index for a space."""
    natives = {space.space_of(each): space.encoder_of(each).dim for each in space.modalities}
    return Layout(dim=space.dim, natives=natives, connector=space.connector_version)


def fingerprints_of(space: UnifiedSpace) -> dict[str, str]:
    """Return the fingerprints of the encoders in use, by space."""
    return {name: encoder.fingerprint for name, encoder in space.encoders.items()}


def _release_of(store: ReleaseStore, collection: str, version: str) -> Release:
    try:
        return store.find(version)
    except NotFound:
        raise CollectionConflict(
            f"collection {collection} holds vectors of connector {version}, of which neither the bundle nor "
            "the data directory knows anything: nobody can tell whether the encoders in use made them. Start "
            "once with the bundle that wrote them, which keeps its connectors, or with another data directory"
        ) from None

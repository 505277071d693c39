"""`GET /connectors`: what brings the spaces together, and which encoders it was made for."""

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from connectors.connector import Connector
from service.json_reply import JsonReply
from service.openapi import example_reply
from service.runtime import runtime_of

router = APIRouter(tags=["connectors"])

REPLY = {
    "active": "exmcr-3f1a9c04d2b7",
    "bundle": "compact",
    "dim": 512,
    "spaces": {"clip": ["text", "image"], "clap": ["audio"], "ulip": ["point_cloud"]},
    "connectors": [
        {
            "version": "exmcr-3f1a9c04d2b7",
            "method": "exmcr",
            "base": "clip",
            "dim": 512,
            "heads": {"clip/text": [], "clap/audio": ["f_l", "f_m"]},
            "created": "2026-01-31T12:00:00+00:00",
            "metrics": {},
        }
    ],
}


@router.get("/connectors", summary="Connectors in use", responses=example_reply(REPLY))
async def list_connectors(request: Request) -> Response:
    """The version that makes unified vectors now, and the connectors it consists of."""
    space = runtime_of(request).space
    spaces: dict[str, list[str]] = {}
    for modality in space.modalities:
        spaces.setdefault(space.space_of(modality), []).append(modality)
    return JsonReply(
        {
            "active": space.connector_version,
            "bundle": space.name,
            "dim": space.dim,
            "spaces": spaces,
            "connectors": [_reply(connector) for connector in space.connectors],
        }
    )


def _reply(connector: Connector) -> dict[str, Any]:
    manifest = connector.manifest
    shown = {"method", "base", "dim", "heads", "created", "metrics", "seed"}
    return {"version": connector.version, **manifest.model_dump(mode="json", include=shown)}

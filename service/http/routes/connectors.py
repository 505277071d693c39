"""`/connectors`: the connectors in use, the releases available, and the switch between them."""

import asyncio
import tempfile
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from connectors.connector import MANIFEST_FILE, WEIGHTS_FILE, Connector
from connectors.errors import IsthmusError
from service.engine.media_input import MediaInput
from service.errors import InvalidRequest
from service.http.dependencies import Loaded, Ready
from service.http.openapi import example_reply
from service.http.parsing import read_form
from service.http.replies import JsonReply
from service.http.routes.jobs import JOB
from service.jobs.record import job_reply
from service.releases.store import CALIBRATION_FILE, Release, ReleaseStore
from service.releases.switching import activate
from service.schemas.connector_replies import ConnectorMetrics, ConnectorsReply, ReleaseReply
from service.schemas.job_replies import JobReply

router = APIRouter(prefix="/connectors", tags=["connectors"])

FILES = (WEIGHTS_FILE, MANIFEST_FILE, CALIBRATION_FILE)
RELEASE = {
    "version": "exmcr-3f1a9c04d2b7",
    "origin": "published",
    "active": False,
    "former": True,
    "calibrated": False,
    "created": "2026-01-31T12:00:00.000+00:00",
    "connectors": ["exmcr-09b2f6a1c3d4", "exmcr-77c0aa41e2f0"],
}
REPLY = {
    "active": "exmcr-3f1a9c04d2b7",
    "former": "exmcr-b07c04173b71",
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
    "available": [RELEASE],
}
UPLOAD = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "files": {"type": "array", "items": {"type": "string", "format": "binary"}}
                    },
                }
            }
        },
    }
}


@router.get(
    "",
    summary="Connectors in use, and those there are",
    response_model=ConnectorsReply,
    responses=example_reply(REPLY),
)
async def list_connectors(call: Loaded) -> Response:
    """Return the active version, the connectors it consists of, and every release.

    `former` is the version before it: activate that to go back. A release that is not `calibrated` ranks by
    the calibration of the one it was published onto.
    """
    space, store = call.pipeline.space, call.runtime.releases
    spaces: dict[str, list[str]] = {}
    for modality in space.modalities:
        spaces.setdefault(space.space_of(modality), []).append(modality)
    releases = await asyncio.to_thread(store.all)
    former = (await asyncio.to_thread(store.active)).former
    return JsonReply(
        {
            "active": space.connector_version,
            "former": former,
            "bundle": space.name,
            "dim": space.dim,
            "spaces": spaces,
            "connectors": [_reply(connector) for connector in space.connectors],
            "available": [each.reply(space.connector_version, former) for each in releases],
        }
    )


@router.post(
    "",
    summary="Publish a connector",
    status_code=201,
    response_model=ReleaseReply,
    responses=example_reply(RELEASE, status=201),
    openapi_extra=UPLOAD,
)
async def publish_connector(
    request: Request,
    call: Ready,
    onto: Annotated[
        str | None, Query(description="The release it is added to; the active one if unset")
    ] = None,
) -> Response:
    """Add a connector as `isthmus train` writes it: the files `connector.safetensors` and `manifest.json`.

    It takes the place of the connector for the same leaf in the release `onto`; the others stay. Nothing is
    served with it before it is activated. `calibration.json` may come with it.
    """
    active = call.pipeline.space.connector_version
    async with read_form(request, len(FILES)) as form:
        for name in form.fields:
            raise InvalidRequest(f"there is no form field {name!r}; there are files", name)
        release = await asyncio.to_thread(_publish, call.runtime.releases, form.media, onto or active)
    return JsonReply(release.reply(call.pipeline.space.connector_version, None), 201)


@router.post(
    "/{version}/activate",
    summary="Switch to a connector",
    status_code=202,
    response_model=JobReply,
    responses=example_reply(JOB, status=202),
)
async def activate_connector(call: Ready, version: str) -> Response:
    """Project every stored point anew, then switch to the result in one step. Returns the job that does it.

    Reads and writes go on. The former vectors are kept: activating the former version again projects only
    what was written since. A connector for other encoders is refused (409): native vectors are not theirs.
    """
    jobs = call.runtime.jobs
    job = await activate(call.pipeline, call.runtime.releases, jobs, version)
    headers = {"location": f"/jobs/{job.id}"}
    return JsonReply(job_reply(job, jobs.rate(job.id)), 202, headers)


def _publish(store: ReleaseStore, files: list[MediaInput], onto: str) -> Release:
    given = {file.filename: file for file in files if file.filename is not None}
    unknown = sorted(set(given) - set(FILES))
    missing = sorted({WEIGHTS_FILE, MANIFEST_FILE} - set(given))
    if unknown or missing or len(given) != len(files):
        raise InvalidRequest(
            f"a connector is the files {WEIGHTS_FILE} and {MANIFEST_FILE}, and {CALIBRATION_FILE} where "
            f"there is one; this has {', '.join(sorted(given)) or 'none'}",
            "files",
        )
    with tempfile.TemporaryDirectory(prefix="isthmus-publish-") as folder:
        for name, file in given.items():
            (Path(folder) / name).write_bytes(file.read())
        try:
            return store.publish([Path(folder)], store.find(onto))
        except IsthmusError as error:
            error.message = error.message.replace(f"{folder}/", "")
            raise


def _reply(connector: Connector) -> dict[str, Any]:
    shown = {"method", "base", "dim", "heads", "created", "seed"}
    try:
        metrics = ConnectorMetrics.model_validate(connector.manifest.metrics)
    except ValidationError:  # a manifest's metrics may be anything
        metrics = ConnectorMetrics()
    return {
        "version": connector.version,
        **connector.manifest.model_dump(mode="json", include=shown),
        "metrics": metrics.model_dump(mode="json", exclude_unset=True),
    }

"""What tests of a refresh ask of a server, and the vectors they expect of it."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch
from media_files import cloud
from server_process import ServerProcess
from waiting import until

from connectors.bundle import load_bundle
from connectors.connector import load_connector
from connectors.space import UnifiedSpace

FILES = ("connector.safetensors", "manifest.json", "calibration.json")


class Expected:
    """Where the clouds of `put_clouds` are in the spaces of some connectors, worked out here."""

    def __init__(self, bundle: Path) -> None:
        self._bundle = load_bundle(bundle)
        self._spaces: dict[str, UnifiedSpace] = {self._bundle.connector_version: self._bundle}
        self._native: dict[int, torch.Tensor] = {}

    @property
    def version(self) -> str:
        """The bundle's."""
        return self._bundle.connector_version

    def publish(self, version: str, directory: Path) -> None:
        """Expect vectors of a release whose clouds are projected by this connector."""
        connectors = [self._bundle.connectors[0], load_connector(directory)]
        self._spaces[version] = self._bundle.with_connectors(connectors, self._bundle.calibration)
        assert self._spaces[version].connector_version == version

    def check(self, vectors: Mapping[str, Sequence[float]], version: str) -> None:
        """Every cloud is in the space of this version."""
        space = self._spaces[version]
        numbers = sorted(int(name.partition("/")[2]) for name in vectors if name.startswith("cloud/"))
        unknown = [number for number in numbers if number not in self._native]
        if unknown:
            encoded = space.encode("point_cloud", [cloud(number, 40) for number in unknown])
            self._native.update(zip(unknown, encoded, strict=True))
        natives = torch.stack([self._native[number] for number in numbers])
        unified = space.project("point_cloud", natives).numpy()
        found = np.array([vectors[f"cloud/{number}"] for number in numbers])
        np.testing.assert_allclose(found, unified, atol=1e-5)


def put_clouds(server: ServerProcess, numbers: Iterable[int], **fields: str) -> None:
    """Embed clouds by their numbers: number 3 is `cloud/3`."""
    body = [(number, ("files", (f"{number}.npy", cloud(number, 40)))) for number in numbers]
    ids = "[" + ", ".join(f'"cloud/{number}"' for number, _ in body) + "]"
    reply = server.client.post("/embed", files=[file for _, file in body], data={"ids": ids, **fields})
    assert reply.status_code == 200 and "error" not in reply.text, reply.text


def upload(server: ServerProcess, directory: Path, **params: str) -> httpx.Response:
    """Publish a connector directory."""
    present = [name for name in FILES if (directory / name).exists()]
    files = [("files", (name, (directory / name).read_bytes())) for name in present]
    return server.client.post("/connectors", files=files, params=params)


def publish(server: ServerProcess, directory: Path, **params: str) -> str:
    """Publish a connector directory; gives the version of the release."""
    reply = upload(server, directory, **params)
    assert reply.status_code == 201, reply.text
    version: str = reply.json()["version"]
    return version


def activate(server: ServerProcess, version: str) -> dict[str, Any]:
    """Switch to a version; gives the job as it ended."""
    reply = server.client.post(f"/connectors/{version}/activate")
    assert reply.status_code == 202, reply.text
    assert reply.headers["location"] == f"/jobs/{reply.json()['id']}"
    return ended(server, reply.json()["id"])


def ended(server: ServerProcess, job_id: str) -> dict[str, Any]:
    """Wait until a job has ended; gives it."""

    def job() -> dict[str, Any]:
        found: dict[str, Any] = server.client.get(f"/jobs/{job_id}").json()
        return found

    until(lambda: job()["state"] in ("done", "failed", "cancelled"), every=0.02, tell=job)
    return job()

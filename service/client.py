"""A small Python client: what `curl` does, with files as paths and errors as exceptions.

with Client("http://127.0.0.1:8080") as client:
    client.embed(files=["dog.jpg", "bark.wav"], texts=["a dog"])
    for hit in client.search(texts=["something that barks"], target_modalities=["audio"]):
        print(hit["id"], hit["score"])
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, Literal, Self
from urllib.parse import quote

import httpx

from connectors.errors import IsthmusError
from service.errors import ServiceError

CONNECTOR_FILES = ("connector.safetensors", "manifest.json", "calibration.json")


class RequestFailed(IsthmusError):
    """The service refused a request. `status`, `body` and `retry_after` (seconds) are its reply's."""

    code = "request_failed"

    def __init__(self, reply: httpx.Response) -> None:
        try:
            self.body: dict[str, Any] = reply.json()["error"]
        except (ValueError, KeyError, TypeError):
            self.body = {"message": reply.text[:500] or reply.reason_phrase}
        super().__init__(f"{reply.status_code}: {self.body['message']}")
        self.status = reply.status_code
        advice = reply.headers.get("retry-after", "")
        self.retry_after = int(advice) if advice.isdecimal() else None


@contextmanager
def reaching(url: str) -> Iterator["Client"]:
    """A client, for a command line: where the service does not answer, what is raised is a `ServiceError`."""
    try:
        with Client(url) as client:
            yield client
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
        raise ServiceError(f"no service answers at {url}: {error}") from error
    except httpx.TransportError as error:
        reason = str(error) or type(error).__name__
        raise ServiceError(f"the service at {url} answered no more: {reason}") from error


class Client:
    """A connection to one service. Every method raises `RequestFailed`, or `httpx.TransportError`."""

    def __init__(self, url: str = "http://127.0.0.1:8080", timeout: float = 60.0) -> None:
        self._http = httpx.Client(base_url=url, timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def ready(self) -> bool:
        """Whether the service answers requests now."""
        return self._http.get("/readyz").status_code == 200

    def embed(
        self,
        files: Sequence[str | Path] = (),
        texts: Sequence[str] = (),
        *,
        ids: Sequence[str | None] | None = None,
        metadata: dict[str, Any] | Sequence[dict[str, Any] | None] | None = None,
        store: bool = True,
        return_vectors: bool = False,
        collection: str = "default",
    ) -> list[dict[str, Any]]:
        """Embed files and texts; gives an item for each, files first. A failed one has an `error`."""
        fields: dict[str, Any] = {
            "store": store,
            "return_vectors": return_vectors,
            "collection": collection,
        }
        fields |= {} if ids is None else {"ids": json.dumps(list(ids))}
        fields |= {} if metadata is None else {"metadata": json.dumps(metadata)}
        items: list[dict[str, Any]] = self._form("/embed", files, texts, fields)["items"]
        return items

    def search(
        self,
        files: Sequence[str | Path] = (),
        texts: Sequence[str] = (),
        *,
        query: Sequence[dict[str, Any]] = (),
        **params: Any,
    ) -> list[dict[str, Any]]:
        """Hits for files, texts and further parts of a query (ids, vectors); `params` as in the REST body."""
        fields = {"params": json.dumps({**params, "query": list(query)})}
        hits: list[dict[str, Any]] = self._form("/search", files, texts, fields)["hits"]
        return hits

    def classify(self, item: dict[str, str], labels: Sequence[str], **options: Any) -> list[dict[str, Any]]:
        """Labels by probability, best first; `item` as in the REST body."""
        reply = self._http.post("/classify", json={"item": item, "labels": list(labels), **options})
        ranked: list[dict[str, Any]] = _checked(reply).json()["labels"]
        return ranked

    def point(self, point_id: str, collection: str = "default", with_vectors: bool = False) -> dict[str, Any]:
        """A stored point."""
        params: dict[str, str | bool] = {"collection": collection, "with_vectors": with_vectors}
        point: dict[str, Any] = _checked(self._http.get(_path("points", point_id), params=params)).json()
        return point

    def media(self, point_id: str, collection: str = "default") -> bytes:
        """The original bytes of a stored point."""
        return _checked(self._http.get(_path("media", point_id), params={"collection": collection})).content

    def delete(self, point_id: str, collection: str = "default") -> None:
        """Delete a stored point."""
        _checked(self._http.delete(_path("points", point_id), params={"collection": collection}))

    def ingest(
        self,
        kind: Literal["folder", "archive", "manifest"],
        path: str,
        *,
        collection: str = "default",
        metadata: dict[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> dict[str, Any]:
        """Begin a job that ingests a path of the service's machine; `job` tells how far it is."""
        body = {kind: path, "collection": collection, "metadata": metadata or {}}
        reply = self._http.post("/jobs/ingest", json=body, headers=_key_header(idempotency_key))
        job: dict[str, Any] = _checked(reply).json()
        return job

    def ingest_upload(
        self,
        file: IO[bytes],
        *,
        kind: Literal["archive", "manifest"] = "archive",
        name: str | None = None,
        collection: str = "default",
        metadata: dict[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> dict[str, Any]:
        """Begin a job that ingests an archive or a manifest, which is sent along."""
        form = {"collection": collection, "metadata": json.dumps(metadata or {})}
        reply = self._http.post(
            "/jobs/ingest",
            data=form,
            files={kind: (name or kind, file)},
            headers=_key_header(idempotency_key),
        )
        job: dict[str, Any] = _checked(reply).json()
        return job

    def backup(self, target: str | Path) -> dict[str, Any]:
        """Back everything up to the new directory `target`, checked; gives the backup's manifest.

        Raises `IntegrityError` or `MissingFiles` where it came broken.
        """
        from service.backup_stream import CHUNK, receive_backup

        with self._http.stream("POST", "/backup") as reply:
            if reply.is_error:
                reply.read()
            return receive_backup(_checked(reply).iter_bytes(CHUNK), Path(target))

    def connectors(self) -> dict[str, Any]:
        """The connectors in use and every release there is; see `GET /connectors`."""
        found: dict[str, Any] = _checked(self._http.get("/connectors")).json()
        return found

    def publish_connector(self, directory: Path, onto: str | None = None) -> dict[str, Any]:
        """Publish a connector directory; gives the release."""
        names = [name for name in CONNECTOR_FILES if (directory / name).is_file()]
        files = [("files", (name, (directory / name).read_bytes())) for name in names]
        params = {} if onto is None else {"onto": onto}
        release: dict[str, Any] = _checked(self._http.post("/connectors", files=files, params=params)).json()
        return release

    def activate_connector(self, version: str) -> dict[str, Any]:
        """Begin to switch to a release; gives the job."""
        job: dict[str, Any] = _checked(self._http.post(f"{_path('connectors', version)}/activate")).json()
        return job

    def job(self, job_id: str) -> dict[str, Any]:
        """A job as it is now."""
        job: dict[str, Any] = _checked(self._http.get(_path("jobs", job_id))).json()
        return job

    def _form(
        self, path: str, files: Sequence[str | Path], texts: Sequence[str], fields: dict[str, Any]
    ) -> dict[str, Any]:
        with ExitStack() as opened:
            # Texts are parts of the form too: a form without any file is still multipart.
            parts: list[tuple[str, Any]] = [
                ("files", (Path(file).name, opened.enter_context(Path(file).open("rb")))) for file in files
            ]
            parts += [("texts", (None, text)) for text in texts]
            parts += [(name, (None, _written(value))) for name, value in fields.items()]
            body: dict[str, Any] = _checked(self._http.post(path, files=parts)).json()
        return body


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _key_header(key: str | None) -> dict[str, str]:
    return {} if key is None else {"idempotency-key": key}


def _path(kind: str, point_id: str) -> str:
    return f"/{kind}/{quote(point_id, safe='')}"


def _checked(reply: httpx.Response) -> httpx.Response:
    if reply.is_error:
        raise RequestFailed(reply)
    return reply

"""A small Python client: files as paths, replies as models, errors as exceptions.

with Client("http://127.0.0.1:8080") as client:
    client.embed(files=["dog.jpg", "bark.wav"], texts=["a dog"])
    for hit in client.search(texts=["something that barks"], target_modalities=["audio"]):
        print(hit.id, hit.score)
"""

import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, Literal, Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, JsonValue, ValidationError

from service.errors import RequestFailed, ServiceError
from service.schemas import connector_replies, job_replies, replies

CONNECTOR_FILES = ("connector.safetensors", "manifest.json", "calibration.json")


Reply = TypeVar("Reply", bound=BaseModel)


@contextmanager
def reaching(url: str) -> Iterator["Client"]:
    """Open a client for a command line. Raises `ServiceError` where the service does not answer."""
    try:
        with Client(url) as client:
            yield client
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
        raise ServiceError(f"no service answers at {url}: {error}") from error
    except httpx.TransportError as error:
        reason = str(error) or type(error).__name__
        raise ServiceError(f"the service at {url} answered no more: {reason}") from error


class Client:
    """A connection to one service. Every method may raise `RequestFailed` or `httpx.TransportError`."""

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
        """Return whether the service answers requests now."""
        return self._http.get("/readyz").status_code == 200

    def embed(
        self,
        files: Sequence[str | Path] = (),
        texts: Sequence[str] = (),
        *,
        ids: Sequence[str | None] | None = None,
        metadata: dict[str, Any] | Sequence[dict[str, Any] | None] | None = None,
        store: bool = True,
        store_not_understood: bool = False,
        truncate: bool = True,
        return_vectors: bool = False,
        collection: str = "default",
    ) -> list[replies.EmbeddedItem]:
        """Embed files and texts; return an item for each, files first. A failed one has an `error`."""
        fields: dict[str, Any] = {
            "store": store,
            "store_not_understood": store_not_understood,
            "truncate": truncate,
            "return_vectors": return_vectors,
            "collection": collection,
        }
        fields |= {} if ids is None else {"ids": json.dumps(list(ids))}
        fields |= {} if metadata is None else {"metadata": json.dumps(metadata)}
        return self._form(replies.EmbedReply, "/embed", files, texts, fields).items

    def search(
        self,
        files: Sequence[str | Path] = (),
        texts: Sequence[str] = (),
        *,
        query: str | dict[str, Any] | Sequence[str | dict[str, Any]] = (),
        **params: Any,
    ) -> list[replies.SearchHit]:
        """Search with files, texts and more parts of a query (ids, vectors); both as in the REST body.

        Warns (`warnings.warn`) of texts that the encoder cut or of which it knows no word.
        """
        parts = query if isinstance(query, str | dict) else list(query)
        fields = {"params": json.dumps({**params, "query": parts})}
        reply = self._form(replies.SearchReply, "/search", files, texts, fields)
        _warn(reply.warnings)
        return reply.hits

    def classify(
        self, item: dict[str, str], labels: Sequence[str], **options: Any
    ) -> list[replies.RankedLabel]:
        """Rank labels by probability, best first; `item` as in the REST body. Warns as `search` does."""
        body = {"item": item, "labels": list(labels), **options}
        reply = _read(replies.ClassifyReply, self._http.post("/classify", json=body))
        _warn(reply.warnings)
        return reply.labels

    def point(
        self, point_id: str, collection: str = "default", with_vectors: bool = False
    ) -> replies.PointReply:
        """Return a stored point."""
        params: dict[str, str | bool] = {"collection": collection, "with_vectors": with_vectors}
        return _read(replies.PointReply, self._http.get(_path("points", point_id), params=params))

    def media(self, point_id: str, collection: str = "default") -> bytes:
        """Return the original bytes of a stored point."""
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
    ) -> job_replies.JobReply:
        """Begin a job that ingests a path of the service's machine; `job` tells how far it is."""
        body = {kind: path, "collection": collection, "metadata": metadata or {}}
        reply = self._http.post("/jobs/ingest", json=body, headers=_key_header(idempotency_key))
        return _read(job_replies.JobReply, reply)

    def ingest_upload(
        self,
        file: IO[bytes],
        *,
        kind: Literal["archive", "manifest"] = "archive",
        name: str | None = None,
        collection: str = "default",
        metadata: dict[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> job_replies.JobReply:
        """Begin a job that ingests an archive or a manifest, which is sent along."""
        form = {"collection": collection, "metadata": json.dumps(metadata or {})}
        reply = self._http.post(
            "/jobs/ingest",
            data=form,
            files={kind: (name or kind, file)},
            headers=_key_header(idempotency_key),
        )
        return _read(job_replies.JobReply, reply)

    def backup(self, target: str | Path) -> dict[str, Any]:
        """Back everything up to the new directory `target` and check it; return the backup's manifest.

        Raises `IntegrityError` or `MissingFiles` where it arrived damaged.
        """
        from service.backup.stream import CHUNK, receive_backup

        with self._http.stream("POST", "/backup") as reply:
            if reply.is_error:
                reply.read()
            return receive_backup(_checked(reply).iter_bytes(CHUNK), Path(target))

    def connectors(self) -> connector_replies.ConnectorsReply:
        """Return the connectors in use and every release there is; see `GET /connectors`."""
        return _read(connector_replies.ConnectorsReply, self._http.get("/connectors"))

    def publish_connector(self, directory: Path, onto: str | None = None) -> connector_replies.ReleaseReply:
        """Publish a connector directory; returns the release."""
        names = [name for name in CONNECTOR_FILES if (directory / name).is_file()]
        files = [("files", (name, (directory / name).read_bytes())) for name in names]
        params = {} if onto is None else {"onto": onto}
        return _read(
            connector_replies.ReleaseReply, self._http.post("/connectors", files=files, params=params)
        )

    def activate_connector(self, version: str) -> job_replies.JobReply:
        """Begin to switch to a release; returns the job."""
        return _read(job_replies.JobReply, self._http.post(f"{_path('connectors', version)}/activate"))

    def job(self, job_id: str) -> job_replies.JobReply:
        """Return a job as it is now."""
        return _read(job_replies.JobReply, self._http.get(_path("jobs", job_id)))

    def _form(
        self,
        model: type[Reply],
        path: str,
        files: Sequence[str | Path],
        texts: Sequence[str],
        fields: dict[str, Any],
    ) -> Reply:
        with ExitStack() as opened:
            # Texts are parts of the form too: a form without any file is still multipart.
            parts: list[tuple[str, Any]] = [
                ("files", (Path(file).name, opened.enter_context(Path(file).open("rb")))) for file in files
            ]
            parts += [("texts", (None, text)) for text in texts]
            parts += [(name, (None, _form_value(value))) for name, value in fields.items()]
            return _read(model, self._http.post(path, files=parts))


def _form_value(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _key_header(key: str | None) -> dict[str, str]:
    return {} if key is None else {"idempotency-key": key}


def _path(kind: str, point_id: str) -> str:
    return f"/{kind}/{quote(point_id, safe='')}"


def _read(model: type[Reply], reply: httpx.Response) -> Reply:
    return model.model_validate_json(_checked(reply).content)


def _warn(found: Sequence[replies.QueryWarning] | None) -> None:
    """Warn the caller's caller of what an encoder did not read or know of its texts."""
    for each in found or ():
        if each.truncated is not None:
            cut = f"of {each.truncated.given} tokens the encoder read {each.truncated.used}"
            warnings.warn(f"{each.param}: {cut}", stacklevel=3)
        if each.understood is False:
            warnings.warn(f"{each.param}: the encoder knows no word of this text", stacklevel=3)


def _checked(reply: httpx.Response) -> httpx.Response:
    """Return a reply. Raises `RequestFailed` where it is an error."""
    if not reply.is_error:
        return reply
    try:
        body: dict[str, JsonValue] = replies.ErrorReply.model_validate_json(reply.content).error.model_dump()
    except ValidationError:
        body = {"message": reply.text[:500] or reply.reason_phrase}
    advice = reply.headers.get("retry-after", "")
    raise RequestFailed(reply.status_code, body, int(advice) if advice.isdecimal() else None)

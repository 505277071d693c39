"""Those who embed millions have their vectors as bytes or as Arrow, the same ones as in JSON."""

import builtins

import httpx
import numpy as np
import pyarrow as pa
import pytest

from service.errors import NotAcceptable
from service.http.vector_replies import ARROW, check_available

TEXTS = [{"text": f"a dog and {i} cats"} for i in range(5)]
BROKEN = {"image": "bm90IGFuIGltYWdl", "id": "broken"}


def ask(api: httpx.Client, items: list[dict[str, str]], accept: str) -> httpx.Response:
    return api.post("/embed", json={"items": items, "store": False}, headers={"accept": accept})


def in_json(api: httpx.Client, items: list[dict[str, str]]) -> list[dict[str, object]]:
    return api.post("/embed", json={"items": items, "store": False, "return_vectors": True}).json()["items"]


def matrix(reply: httpx.Response) -> np.ndarray:
    assert reply.headers["content-type"] == "application/octet-stream"
    shape = [int(size) for size in reply.headers["x-vector-shape"].split(",")]
    return np.frombuffer(reply.content, reply.headers["x-vector-dtype"]).reshape(shape)


def test_bytes_are_the_vectors_of_json(api: httpx.Client) -> None:
    reply = ask(api, TEXTS, "application/octet-stream")
    vectors = matrix(reply)
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(
        vectors, np.float32([each["vector"] for each in in_json(api, TEXTS)]), strict=True
    )
    assert reply.headers["x-failed-items"] == ""
    assert reply.headers["x-model"].startswith("tiny/")
    assert "x-total-time" in reply.headers


def test_in_bytes_a_failed_item_is_nan_and_named(api: httpx.Client) -> None:
    reply = ask(api, [TEXTS[0], BROKEN, TEXTS[1]], "application/octet-stream")
    assert reply.headers["x-failed-items"] == "1"
    assert np.isnan(matrix(reply)).all(axis=1).tolist() == [False, True, False]


@pytest.mark.parametrize("accepted", ["application/octet-stream", ARROW])
def test_limits_of_the_encoder_are_told_in_headers(api: httpx.Client, accepted: str) -> None:
    items = [TEXTS[0], {"text": "word " * 100}, BROKEN, {"text": "🐕"}]
    headers = ask(api, items, accepted).headers
    assert (headers["x-truncated-items"], headers["x-not-understood-items"]) == ("1", "3")


def test_arrow_holds_ids_vectors_and_errors(api: httpx.Client) -> None:
    items = [{**TEXTS[0], "id": "first"}, BROKEN, TEXTS[1]]
    reply = ask(api, items, ARROW)
    assert reply.headers["content-type"] == ARROW
    table = pa.ipc.open_stream(reply.content).read_all()
    told = in_json(api, items)
    assert table["id"].to_pylist() == ["first", "broken", told[2]["id"]]
    assert table["modality"].to_pylist() == ["text", None, "text"]
    assert table["error"].to_pylist() == [None, "invalid_media", None]
    assert table["message"][1].as_py() == told[1]["error"]["message"]
    assert table["vector"][1].as_py() is None
    assert table["vector"].type == pa.list_(pa.float32(), len(told[0]["vector"]))
    np.testing.assert_array_equal(np.float32(table["vector"][2].as_py()), np.float32(told[2]["vector"]))
    assert table.schema.metadata[b"bundle"] == b"tiny"


def test_what_is_embedded_in_bytes_is_stored_like_any_other(api: httpx.Client) -> None:
    body = {"items": [{"text": "kept in bytes", "id": "kept"}], "collection": "bytes"}
    assert api.post("/embed", json=body, headers={"accept": "application/octet-stream"}).is_success
    assert api.get("/points/kept", params={"collection": "bytes"}).is_success


@pytest.mark.parametrize(
    ("accept", "answered"),
    [
        ("*/*", "application/json"),
        ("text/html, */*", "application/json"),
        ("application/json, application/octet-stream;q=0.5", "application/json"),
        ("application/json;q=0.5, application/octet-stream", "application/octet-stream"),
        (f"application/octet-stream;q=0.2, {ARROW}", ARROW),
        ("application/octet-stream;q=0", "application/json"),
        ("application/octet-stream;q=often", "application/json"),
    ],
)
def test_accept_decides(api: httpx.Client, accept: str, answered: str) -> None:
    assert ask(api, TEXTS[:1], accept).headers["content-type"] == answered


def test_errors_are_json_all_the_same(api: httpx.Client) -> None:
    reply = ask(api, [BROKEN], "application/octet-stream")
    assert (reply.status_code, reply.json()["error"]["code"]) == (422, "invalid_media")


def test_without_pyarrow_arrow_is_refused_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = builtins.__import__

    def without(name: str, *args: object, **kwargs: object) -> object:
        if name == "pyarrow":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    check_available("application/octet-stream")
    with pytest.raises(NotAcceptable, match=r"isthmus\[parquet\]"):
        check_available(ARROW)

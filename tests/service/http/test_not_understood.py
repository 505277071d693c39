"""What the service does not understand it refuses, and says what to write in its place."""

import base64
import json
from typing import Any

import httpx
import pytest
from media_files import png

WORD = base64.b64encode(png("teal")).decode()
URI = f"data:image/png;base64,{WORD}"
FILTER = '{"must": [{"key": "metadata.a", "match": {"value": 1}}]}'


def refused(reply: httpx.Response, status: int, *says: str) -> dict[str, Any]:
    assert reply.status_code == status, reply.text
    error = reply.json()["error"]
    for each in says:
        assert each in error["message"]
    return error


# Bodies


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/embed", {"items": [{"text": "a"}], "store": False}),
        ("/search", {"query": [{"text": "a"}]}),
        ("/classify", {"item": {"text": "a"}, "labels": ["a"]}),
        ("/v1/embeddings", {"input": "a"}),
        ("/jobs/ingest", {"folder": "x"}),
    ],
)
def test_a_key_that_no_body_has_is_named(api: httpx.Client, path: str, body: dict[str, Any]) -> None:
    error = refused(api.post(path, json={**body, "modality": "image"}), 422, "modality")
    assert error["param"] == "modality"


def test_openai_s_own_fields_are_taken(api: httpx.Client) -> None:
    body = {"input": "a", "model": "tiny", "encoding_format": "float", "dimensions": 4, "user": "me"}
    assert api.post("/v1/embeddings", json=body).is_success


def test_a_key_of_an_input_is_named_by_its_place(api: httpx.Client) -> None:
    body = {"input": ["a", {"image": URI, "modality": "image"}]}
    error = refused(api.post("/v1/embeddings", json=body), 422, "input[1].modality")
    assert error["param"] == "input[1].modality"


def test_a_query_may_be_one_text_or_one_part(api: httpx.Client) -> None:
    vectors = [
        [hit["cosine"] for hit in api.post("/search", json={"query": query, "limit": 3}).json()["hits"]]
        for query in ("dog", {"text": "dog"}, ["dog"], [{"text": "dog"}])
    ]
    assert all(each == vectors[0] for each in vectors)
    form = {"params": (None, json.dumps({"query": "dog", "limit": 3}))}
    assert [hit["cosine"] for hit in api.post("/search", files=form).json()["hits"]] == vectors[0]


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("/search", {"text": "dog"}, '{"query": [{"text": ...}]}'),
        ("/search", {"image": URI, "limit": 3}, '{"query": [{"image": ...}]}'),
        ("/embed", {"text": "dog"}, '{"items": [{"text": ...}]}'),
        ("/embed", {"audio": WORD}, '{"items": [{"audio": ...}]}'),
        ("/classify", {"text": "dog", "labels": ["a"]}, '{"item": {"text": ...}'),
        ("/v1/embeddings", {"image": URI}, '{"input": [{"image": ...}]}'),
    ],
)
def test_media_at_the_top_of_a_body_are_told_their_place(
    api: httpx.Client, path: str, body: dict[str, Any], says: str
) -> None:
    error = refused(api.post(path, json=body), 422, says)
    assert error["param"] in body
    assert "required" not in error["message"]


def test_up_to_three_problems_are_named_each_with_its_field(api: httpx.Client) -> None:
    body = {"query": [{"text": 7}], "limit": 0, "offset": -1, "explain": "often", "dedupe": 9}
    refused(api.post("/search", json=body), 422, "limit: ", "; offset: ", "; dedupe: ", "(and 2 more)")
    body = {"query": [{"text": "a"}], "limit": 0, "colour": "red"}
    message = refused(api.post("/search", json=body), 422)["message"]
    assert "limit: " in message and "colour: " in message and "more" not in message


@pytest.mark.parametrize(
    "tokens",
    [[1, 2, 3], [[1, 2, 3], [4]], ["a dog", [1]], 7],
    ids=["one text", "several texts", "one among texts", "a number"],
)
def test_token_ids_are_refused_in_words_that_help(api: httpx.Client, tokens: object) -> None:
    error = refused(
        api.post("/v1/embeddings", json={"model": "tiny", "input": tokens}),
        422,
        "token ids",
        "check_embedding_ctx_length=False",
    )
    assert error["param"].startswith("input")


@pytest.mark.parametrize("model", ["text-embedding-3-small", "compact", "", "Tiny"])
def test_a_model_that_is_not_served_is_not_found(api: httpx.Client, model: str) -> None:
    error = refused(api.post("/v1/embeddings", json={"model": model, "input": "a"}), 404, repr(model), "tiny")
    assert (error["code"], error["param"]) == ("model_not_found", "model")


@pytest.mark.parametrize("model", [{}, {"model": "isthmus"}, {"model": "tiny"}])
def test_the_bundle_is_served_by_its_name_and_by_the_service_s(
    api: httpx.Client, model: dict[str, str]
) -> None:
    assert api.post("/v1/embeddings", json={**model, "input": "a"}).json()["model"] == "tiny"


# Media sent as texts


@pytest.mark.parametrize("uri", [URI, f"  {URI}", "DATA:audio/wav;base64,UklGRg==", "data:;base64,aGk="])
def test_a_data_uri_is_no_text(api: httpx.Client, uri: str) -> None:
    item = {"text": uri}
    body = {"items": [item, {"text": "fine"}], "store": False}
    first, second = api.post("/embed", json=body).json()["items"]
    assert "data: URI" in first["error"]["message"] and first["error"]["param"] == "items[0]"
    assert "items[0]" in first["error"]["message"] and "error" not in second
    for path, body in (
        ("/embed", {"items": [item]}),
        ("/search", {"query": [item]}),
        ("/search", {"query": uri}),
        ("/classify", {"item": item, "labels": ["a"]}),
        ("/classify", {"item": {"text": "a"}, "labels": ["a", uri]}),
        ("/v1/embeddings", {"input": uri}),
        ("/v1/embeddings", {"input": ["fine", uri]}),
    ):
        refused(api.post(path, json=body), 422, "is a data: URI sent as a text")
    for path in ("/embed", "/search"):
        refused(
            api.post(path, files={"texts": (None, uri)}), 422, "texts[0]", "is a data: URI sent as a text"
        )


def test_a_data_uri_is_told_the_field_of_its_media(api: httpx.Client) -> None:
    for uri, field in ((URI, "image"), ("data:audio/wav;base64,UklGRg==", "audio")):
        refused(api.post("/embed", json={"items": [{"text": uri}]}), 422, f"in the field {field!r}")


@pytest.mark.parametrize("text", ["data: the new oil", "data:", "Data, data, data", "metadata:x/y,z"])
def test_a_text_about_data_is_one(api: httpx.Client, text: str) -> None:
    body = {"items": [{"text": text}], "store": False}
    assert api.post("/embed", json=body).is_success


# Collections


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/search", {"query": [{"text": "a"}], "collection": "nowhere"}),
        ("POST", "/classify", {"item": {"id": "a"}, "labels": ["a"], "collection": "nowhere"}),
        ("GET", "/points?collection=nowhere", None),
        ("GET", "/points/a?collection=nowhere", None),
        ("PATCH", "/points/a?collection=nowhere", {"caption": "x"}),
        ("DELETE", "/points/a?collection=nowhere", None),
        ("DELETE", f"/points?collection=nowhere&filter={FILTER}", None),
        ("GET", "/media/a?collection=nowhere", None),
        ("GET", "/collections/nowhere", None),
        ("GET", "/collections/nowhere/count", None),
        ("GET", "/collections/nowhere/facets?field=modality", None),
        ("DELETE", "/collections/nowhere", None),
    ],
)
def test_a_collection_that_is_not_there_is_not_found(
    api: httpx.Client, method: str, path: str, body: object
) -> None:
    reply = api.request(method, path, json=body) if body else api.request(method, path)
    refused(reply, 404, "there is no collection 'nowhere'")


def test_the_default_collection_is_there_before_anything_is_in_it(start_server: Any) -> None:
    api = start_server().client
    assert api.get("/points").json() == {"points": [], "next_cursor": None, "count": 0}
    assert api.post("/search", json={"query": "a"}).json()["hits"] == []
    assert api.get("/collections/default/count").json() == {"count": 0}
    assert api.get("/collections/default/facets", params={"field": "modality"}).json()["values"] == []
    assert api.delete("/points", params={"filter": FILTER}).json() == {"deleted": []}
    refused(api.get("/points/a"), 404, "there is no point 'a'")
    api.post("/embed", json={"items": [{"text": "a"}], "store": False, "collection": "unmade"})
    refused(api.get("/points?collection=unmade"), 404, "unmade")


# Parameters and forms


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("GET", "/points?colection=x", "colection"),
        ("GET", "/points/a?vectors=true", "vectors"),
        ("GET", "/collections/default/count?limit=3", "limit"),
        ("POST", "/embed?collection=x", "collection"),
        ("POST", "/search?limit=3", "limit"),
        ("GET", "/jobs?status=done", "status"),
        ("GET", "/v1/models?x=1", "x"),
    ],
)
def test_a_parameter_that_an_operation_does_not_have_is_named(
    api: httpx.Client, method: str, path: str, name: str
) -> None:
    body = {"json": {"items": [{"text": "a"}], "query": "a"}} if method == "POST" else {}
    error = refused(api.request(method, path, **body), 422, f"there is no parameter {name!r}")
    assert error["param"] == name


@pytest.mark.parametrize("path", ["/embed", "/search", "/jobs/ingest", "/connectors"])
def test_a_form_field_that_an_operation_does_not_have_is_named(api: httpx.Client, path: str) -> None:
    file = {"/jobs/ingest": "archive"}.get(path, "files")
    error = refused(api.post(path, files={file: ("a.txt", b"a")}, data={"colour": "red"}), 422, "colour")
    assert error["param"] == "colour"


@pytest.mark.parametrize("path", ["/embed", "/search", "/jobs/ingest"])
def test_a_form_field_that_is_there_twice_is_refused(api: httpx.Client, path: str) -> None:
    name = "params" if path == "/search" else "metadata"
    files = [(name, (None, "{}")), (name, (None, "{}")), ("archive", ("a.zip", b"a"))]
    refused(api.post(path, files=files if path == "/jobs/ingest" else files[:2]), 422, name, "twice")

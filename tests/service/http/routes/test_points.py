"""Stored points can be listed, looked at, changed, deleted, and their media fetched."""

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from media_files import cloud, jpeg, wav
from PIL import Image
from server_process import ServerProcess

HERE = {"collection": "points"}
MEDIA = {"pic/1.jpg": jpeg(1, 300), "sound 2": wav(), "cloud#3": cloud()}


@pytest.fixture(scope="module", autouse=True)
def _stored(server: ServerProcess) -> Iterator[None]:
    for name, data in MEDIA.items():
        form = {**HERE, "ids": f'["{name}"]', "metadata": '{"kept": true}'}
        assert server.client.post("/embed", files={"files": (f"{name}", data)}, data=form).is_success
    items = [{"text": f"text {i}", "id": f"t{i}"} for i in range(7)]
    assert server.client.post("/embed", json={"items": items, **HERE}).is_success
    yield
    assert server.client.delete("/collections/points").status_code == 200


def url(kind: str, name: str) -> str:
    return f"/{kind}/{quote(name, safe='')}"


def test_pages_hold_every_point_once(api: httpx.Client) -> None:
    seen, cursor = [], None
    while True:
        params = {**HERE, "limit": 4, **({"cursor": cursor} if cursor else {})}
        page = api.get("/points", params=params).json()
        assert page["count"] == 10
        seen += [point["id"] for point in page["points"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert sorted(seen) == sorted([*MEDIA, *(f"t{i}" for i in range(7))])


def test_a_page_is_counted_unless_it_is_asked_not_to_be(api: httpx.Client) -> None:
    where = {"filter": '{"must": [{"key": "metadata.kept", "match": {"value": true}}]}'}
    counted, page = (
        api.get("/points", params={**HERE, **where, "with_count": asked}).json() for asked in (True, False)
    )
    assert (counted["count"], page["count"]) == (3, None)
    assert page["points"] == counted["points"]


def test_a_page_of_one_modality(api: httpx.Client) -> None:
    page = api.get("/points", params={**HERE, "modality": "audio"}).json()
    assert [point["id"] for point in page["points"]] == ["sound 2"]


@pytest.mark.parametrize("name", MEDIA)
def test_media_come_back_as_they_were_sent(api: httpx.Client, name: str) -> None:
    point = api.get(url("points", name), params=HERE).json()
    assert point["id"] == name
    reply = api.get(point["media_url"])
    assert reply.content == MEDIA[name]
    assert reply.headers["content-type"] == point["mime"]
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["content-security-policy"].startswith("sandbox")


def test_media_are_served_in_ranges_and_by_etag(api: httpx.Client) -> None:
    path = url("media", "sound 2")
    part = api.get(path, params=HERE, headers={"range": "bytes=4-11"})
    assert (part.status_code, part.content) == (206, MEDIA["sound 2"][4:12])
    etag = part.headers["etag"]
    assert api.get(path, params=HERE, headers={"if-none-match": etag}).status_code == 304
    head = api.head(path, params=HERE)
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["content-length"]) == len(MEDIA["sound 2"])


def test_a_thumbnail_is_small_and_only_of_images(api: httpx.Client) -> None:
    reply = api.get(url("media", "pic/1.jpg"), params={**HERE, "size": 64})
    assert Image.open(io.BytesIO(reply.content)).size == (64, 64)
    assert api.get(url("media", "sound 2"), params={**HERE, "size": 64}).status_code == 422
    assert api.get(url("media", "pic/1.jpg"), params={**HERE, "size": 10**6}).status_code == 422


def test_metadata_are_replaced(api: httpx.Client) -> None:
    before = api.get("/points/t1", params={**HERE, "with_vectors": True}).json()
    changed = api.patch("/points/t1", params=HERE, json={"metadata": {"a": [1]}, "caption": "one"})
    assert changed.json()["metadata"] == {"a": [1]}
    after = api.get("/points/t1", params={**HERE, "with_vectors": True}).json()
    assert after == {**before, "metadata": {"a": [1]}, "caption": "one"}
    assert api.patch("/points/nobody", params=HERE, json={"caption": "x"}).status_code == 404
    assert api.patch("/points/t1", params=HERE, json={}).status_code == 422


def test_what_is_deleted_is_gone(api: httpx.Client) -> None:
    body = {"items": [{"text": "short-lived", "id": "gone"}], **HERE}
    assert api.post("/embed", json=body).is_success
    assert api.delete("/points/gone", params=HERE).json() == {"deleted": ["gone"]}
    assert api.get("/points/gone", params=HERE).status_code == 404
    assert api.delete("/points/gone", params=HERE).status_code == 404
    query = {"query": [{"text": "short-lived"}], "limit": 50, **HERE}
    assert "gone" not in [hit["id"] for hit in api.post("/search", json=query).json()["hits"]]


def test_a_file_that_nothing_names_is_off_the_disk(server: ServerProcess) -> None:
    def store(data: bytes, point_id: str) -> Path:
        form = {"collection": "brief", "ids": f'["{point_id}"]'}
        assert server.client.post("/embed", files={"files": ("a.jpg", data)}, data=form).is_success
        key = hashlib.sha256(data).hexdigest()
        return server.data_dir / "media" / "files" / key[:2] / key

    first, second, third = (store(jpeg(90 + i), f"point {i}") for i in range(3))
    assert store(jpeg(90), "another") == first
    assert server.client.delete("/points/point 0", params={"collection": "brief"}).is_success
    assert first.exists(), "another point names it"
    assert server.client.delete("/points/another", params={"collection": "brief"}).is_success
    assert not first.exists()
    assert second.exists()
    store(jpeg(93), "point 1")
    assert not second.exists(), "its point was given another file"
    assert third.exists()
    assert server.client.delete("/collections/brief").is_success
    assert not third.exists()


def test_collections_are_made_listed_and_deleted(api: httpx.Client) -> None:
    made = api.put("/collections/fresh").json()
    assert (made["name"], made["dim"], made["count"], made["created"]) == ("fresh", 32, 0, True)
    assert api.put("/collections/fresh").json()["created"] is False
    names = [each["name"] for each in api.get("/collections").json()["collections"]]
    assert {"fresh", "points"} <= set(names)
    assert api.get("/collections/points").json()["count"] == 10
    assert api.delete("/collections/fresh").json() == {"deleted": "fresh"}
    assert api.get("/collections/fresh").status_code == 404


def test_a_collection_says_how_full_it_is(api: httpx.Client) -> None:
    stats = api.get("/collections/points").json()
    assert stats["count"] == 10
    assert stats["indexed"] <= 10
    assert stats["optimizing"] is False
    assert stats["bytes_on_disk"] > 0
    assert stats["connector"] == api.get("/connectors").json()["active"]
    assert stats["fields"]["modality"] == "keyword"


def test_declared_fields_have_facets_and_counts(api: httpx.Client) -> None:
    made = api.put("/collections/shelves", json={"fields": {"metadata.shelf": "keyword"}}).json()
    assert made["fields"]["metadata.shelf"] == "keyword"
    items = [{"text": f"book {i}", "metadata": {"shelf": "ab"[i % 3 == 0], "page": i}} for i in range(9)]
    assert api.post("/embed", json={"items": items, "collection": "shelves"}).is_success
    facets = api.get("/collections/shelves/facets", params={"field": "metadata.shelf"}).json()
    assert facets == {
        "field": "metadata.shelf",
        "values": [{"value": "a", "count": 6}, {"value": "b", "count": 3}],
    }
    late = '{"must": [{"key": "metadata.page", "range": {"gte": 5}}]}'
    few = api.get(
        "/collections/shelves/facets", params={"field": "metadata.shelf", "filter": late, "limit": 1}
    )
    assert few.json()["values"] == [{"value": "a", "count": 3}]
    assert api.get("/collections/shelves/count").json() == {"count": 9}
    assert api.get("/collections/shelves/count", params={"filter": late}).json() == {"count": 4}
    assert api.get("/collections/shelves/count", params={"modality": "image"}).json() == {"count": 0}
    undeclared = api.get("/collections/shelves/facets", params={"field": "metadata.page"})
    assert undeclared.status_code == 400
    assert "metadata.shelf" in undeclared.json()["error"]["message"]
    assert api.put("/collections/shelves", json={"fields": {"metadata.page": "integer"}}).is_success
    pages = api.get("/collections/shelves/facets", params={"field": "metadata.page", "limit": 2}).json()
    assert len(pages["values"]) == 2
    assert api.put("/collections/shelves", json={"fields": {"colour": "keyword"}}).status_code == 400
    assert api.put("/collections/shelves", json={"fields": {"metadata.a": "colour"}}).status_code == 422
    assert api.delete("/collections/shelves").is_success


def test_a_filter_deletes_what_it_matches_and_its_media(api: httpx.Client) -> None:
    data = {"collection": "sweep", "metadata": '{"old": true}', "ids": '["picture"]'}
    assert api.post("/embed", files={"files": ("a.jpg", jpeg(7, 40))}, data=data).is_success
    items = [{"text": f"text {i}", "id": f"t{i}", "metadata": {"old": i < 2}} for i in range(5)]
    assert api.post("/embed", json={"items": items, "collection": "sweep"}).is_success
    old = {"collection": "sweep", "filter": '{"must": [{"key": "metadata.old", "match": {"value": true}}]}'}
    assert sorted(api.delete("/points", params=old).json()["deleted"]) == ["picture", "t0", "t1"]
    assert api.delete("/points", params=old).json()["deleted"] == []
    assert api.get("/collections/sweep/count").json() == {"count": 3}
    assert api.get("/media/picture", params={"collection": "sweep"}).status_code == 404
    for everything in ("{}", '{"must": []}', '{"must": [{"should": []}]}'):
        refused = api.delete("/points", params={"collection": "sweep", "filter": everything})
        assert refused.status_code in (400, 422)
    assert api.delete("/points", params={"collection": "sweep"}).status_code == 422
    assert api.delete("/collections/sweep").is_success

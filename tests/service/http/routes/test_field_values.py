"""A value that is not of its field's declared type is refused when it is written: no filter would find it."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

HERE = {"collection": "typed"}
FIELDS = {
    "metadata.word": "keyword",
    "metadata.count": "integer",
    "metadata.size": "float",
    "metadata.good": "bool",
    "metadata.taken": "datetime",
    "metadata.place": "geo",
    "metadata.parts[].n": "integer",
    'metadata."two words"': "integer",
}
HOME = {"lon": 13.4, "lat": 52.5}


@pytest.fixture(autouse=True)
def _typed(api: httpx.Client) -> Iterator[None]:
    assert api.put("/collections/typed", json={"fields": FIELDS}).is_success
    yield
    assert api.delete("/collections/typed").is_success


@pytest.mark.parametrize(
    ("metadata", "field", "kind"),
    [
        ({"taken": "nonsense"}, "metadata.taken", "datetime"),
        ({"taken": 5}, "metadata.taken", "datetime"),
        ({"taken": "2026-02-30"}, "metadata.taken", "datetime"),
        ({"taken": ["2026-02-03", "soon"]}, "metadata.taken", "datetime"),
        ({"count": "7"}, "metadata.count", "integer"),
        ({"count": 7.5}, "metadata.count", "integer"),
        ({"count": True}, "metadata.count", "integer"),
        ({"size": "7"}, "metadata.size", "float"),
        ({"size": False}, "metadata.size", "float"),
        ({"good": "true"}, "metadata.good", "bool"),
        ({"good": 1}, "metadata.good", "bool"),
        ({"place": "Berlin"}, "metadata.place", "geo"),
        ({"place": [13.4, 52.5]}, "metadata.place", "geo"),
        ({"place": {"lon": 13.4}}, "metadata.place", "geo"),
        ({"place": {"lon": 13.4, "lat": 95}}, "metadata.place", "geo"),
        ({"place": {"lon": True, "lat": 5}}, "metadata.place", "geo"),
        ({"word": 7}, "metadata.word", "keyword"),
        ({"word": {"a": "b"}}, "metadata.word", "keyword"),
        ({"parts": [{"n": 1}, {"n": "2"}]}, "metadata.parts[].n", "integer"),
        ({"two words": "x"}, 'metadata."two words"', "integer"),
    ],
)
def test_what_does_not_fit_is_refused_with_field_and_type(
    api: httpx.Client, metadata: dict[str, Any], field: str, kind: str
) -> None:
    items = [{"text": "fine", "id": "fine"}, {"text": "wrong", "id": "wrong", "metadata": metadata}]
    fine, wrong = api.post("/embed", json={"items": items, **HERE}).json()["items"]
    assert fine["status"] == "stored" and "status" not in wrong
    assert wrong["error"]["code"] == "invalid_request" and wrong["error"]["param"] == "items[1]"
    for each in ("items[1]", field, kind):
        assert each in wrong["error"]["message"]
    assert api.get("/points/wrong", params=HERE).status_code == 404
    alone = api.post("/embed", json={"items": items[1:], **HERE})
    assert alone.status_code == 422 and field in alone.json()["error"]["message"]
    patched = api.patch("/points/fine", params=HERE, json={"metadata": metadata})
    assert patched.status_code == 422
    assert all(each in patched.json()["error"]["message"] for each in ("'fine'", field, kind))
    assert api.get("/points/fine", params=HERE).json()["metadata"] == {}
    form = {"texts": (None, "wrong"), "metadata": (None, api_json(metadata)), "collection": (None, "typed")}
    assert api.post("/embed", files=form).status_code == 422
    assert api.post("/embed", json={"items": items[1:], "store": False}).is_success


def api_json(value: object) -> str:
    return httpx.Request("POST", "http://x", json=value).content.decode()


@pytest.mark.parametrize(
    ("metadata", "where"),
    [
        ({"taken": "2026-05-01"}, {"key": "metadata.taken", "range": {"gte": "2026-04-30"}}),
        ({"taken": "2026-05-01 10:11"}, {"key": "metadata.taken", "range": {"gte": "2026-04-30"}}),
        ({"taken": "2026-05-01T10:11:12.5+02:00"}, {"key": "metadata.taken", "range": {"gte": "2026-04-30"}}),
        ({"taken": ["2026-05-01T00:00:00Z"]}, {"key": "metadata.taken", "range": {"gte": "2026-04-30"}}),
        ({"count": 7}, {"key": "metadata.count", "match": {"value": 7}}),
        ({"count": [6, 7]}, {"key": "metadata.count", "match": {"value": 7}}),
        ({"size": 7}, {"key": "metadata.size", "range": {"gte": 6.5}}),
        ({"size": 7.25}, {"key": "metadata.size", "range": {"gte": 6.5}}),
        ({"good": True}, {"key": "metadata.good", "match": {"value": True}}),
        (
            {"place": [HOME]},
            {"key": "metadata.place", "geo_radius": {"center": HOME, "radius": 1000}},
        ),
        ({"word": ["a", "b"]}, {"key": "metadata.word", "match": {"value": "b"}}),
        ({"parts": [{"n": 1}, {"m": "2"}]}, {"key": "metadata.parts[].n", "match": {"value": 1}}),
    ],
)
def test_what_fits_is_stored_and_found(
    api: httpx.Client, metadata: dict[str, Any], where: dict[str, Any]
) -> None:
    body = {"items": [{"text": "a", "metadata": metadata}, {"text": "b"}], **HERE}
    assert [item["status"] for item in api.post("/embed", json=body).json()["items"]] == ["stored"] * 2
    query = {"query": "a", "filter": {"must": [where]}, **HERE}
    assert [hit["metadata"] for hit in api.post("/search", json=query).json()["hits"]] == [metadata]


@pytest.mark.parametrize("nothing", [None, []])
def test_nothing_is_of_every_type(api: httpx.Client, nothing: object) -> None:
    metadata = dict.fromkeys(("word", "count", "size", "good", "taken", "place"), nothing)
    assert api.post("/embed", json={"items": [{"text": "a", "metadata": metadata}], **HERE}).is_success


def test_a_field_declared_late_says_how_many_points_do_not_fit_it(api: httpx.Client) -> None:
    items = [
        {"text": f"{i}", "id": f"p{i}", "metadata": {"year": [2026, "2026", None, 2026.5][i % 4], "n": i}}
        for i in range(10)
    ]
    assert api.post("/embed", json={"items": items, **HERE}).is_success
    late = {"fields": {"metadata.year": "integer", "metadata.n": "integer"}}
    made = api.put("/collections/typed", json=late).json()
    assert (made["unfit"], made["fields"]["metadata.year"]) == ({"metadata.year": 5}, "integer")
    assert api.put("/collections/typed", json=late).json()["unfit"] == {}, "it was declared already"
    again = api.put("/collections/typed", json={"fields": {"metadata.year": "keyword"}}).json()
    assert again["unfit"] == {"metadata.year": 5}, "declared anew as something else"
    # What was there before may be sent again, and keeps what it has.
    [item] = api.post("/embed", json={"items": [{"text": "0", "id": "p0"}], **HERE}).json()["items"]
    assert item["status"] == "unchanged"
    assert api.patch("/points/p0", params=HERE, json={"caption": "nought"}).is_success

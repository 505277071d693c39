"""What is sent again keeps what is not given anew, and the reply says what became of each item."""

import base64
import hashlib
from typing import Any

import httpx
import pytest
from media_files import png
from server_process import ServerProcess

HERE = {"collection": "again"}


@pytest.fixture(autouse=True)
def _emptied(api: httpx.Client) -> Any:
    yield
    api.delete("/collections/again")


def embed(api: httpx.Client, *items: dict[str, Any], **options: Any) -> list[str | None]:
    reply = api.post("/embed", json={"items": items, **HERE, **options})
    assert reply.is_success, reply.text
    return [item.get("status") for item in reply.json()["items"]]


def upload(api: httpx.Client, name: str, data: bytes, **fields: str) -> str:
    form = {**HERE, "ids": '["x"]', **fields}
    reply = api.post("/embed", files={"files": (name, data)}, data=form)
    assert reply.is_success, reply.text
    return str(reply.json()["items"][0]["status"])


def point(api: httpx.Client, point_id: str = "x") -> dict[str, Any]:
    found = api.get(f"/points/{point_id}", params={**HERE, "with_vectors": True})
    assert found.is_success, found.text
    body: dict[str, Any] = found.json()
    return body


def test_known_content_keeps_its_metadata_its_caption_and_its_time(api: httpx.Client) -> None:
    item = {"text": "a dog", "id": "x", "metadata": {"album": "yard"}}
    assert embed(api, item) == ["stored"]
    assert api.patch("/points/x", params=HERE, json={"caption": "a pet"}).is_success
    before = point(api)
    assert embed(api, {"text": "a dog", "id": "x"}) == ["unchanged"]
    assert embed(api, {**item, "metadata": None}) == ["unchanged"]
    assert embed(api, item) == ["unchanged"]
    assert point(api) == before
    assert embed(api, {**item, "metadata": {"year": 2026}}) == ["updated"]
    assert point(api) == {**before, "metadata": {"year": 2026}}
    assert embed(api, {**item, "metadata": {}}) == ["updated"]
    assert point(api) == {**before, "metadata": {}}


@pytest.mark.parametrize(("first", "second"), [(1, True), (1, 1.0), (0, False), ([1], [1.0])])
def test_equal_numbers_of_other_types_are_other_metadata(
    api: httpx.Client, first: object, second: object
) -> None:
    assert embed(api, {"text": "a", "id": "x", "metadata": {"n": first}}) == ["stored"]
    assert embed(api, {"text": "a", "id": "x", "metadata": {"n": second}}) == ["updated"]
    assert repr(point(api)["metadata"]["n"]) == repr(second)


def test_known_content_keeps_its_name_unless_another_is_given(api: httpx.Client) -> None:
    data = png("navy")
    assert upload(api, "one.png", data, metadata='{"a": 1}') == "stored"
    before = point(api)
    assert upload(api, "one.png", data) == "unchanged"
    assert embed(api, {"image": base64.b64encode(data).decode(), "id": "x"}) == ["unchanged"]
    assert point(api) == before
    assert upload(api, "two.png", data) == "updated"
    assert point(api) == {**before, "name": "two.png"}


def test_other_content_under_a_known_id_is_a_new_version_of_it(api: httpx.Client) -> None:
    assert upload(api, "one.png", png("navy"), metadata='{"a": 1}') == "stored"
    assert api.patch("/points/x", params=HERE, json={"caption": "blue"}).is_success
    before = point(api)
    assert upload(api, "two.png", png("red")) == "updated"
    after = point(api)
    assert (after["metadata"], after["created"]) == (before["metadata"], before["created"])
    assert after["name"] == "two.png" and "caption" not in after
    assert after["vector"] != before["vector"]
    assert api.get(after["media_url"]).content == png("red")
    assert embed(api, {"text": "now a text", "id": "x"}) == ["updated"]
    last = point(api)
    assert (last["modality"], last["text"], last["metadata"]) == ("text", "now a text", {"a": 1})
    assert "name" not in last and last["created"] == before["created"]
    assert embed(api, {"image": base64.b64encode(png("red")).decode(), "id": "x", "metadata": {}}) == [
        "updated"
    ]
    assert "text" not in point(api) and point(api)["metadata"] == {}


def test_one_request_may_hold_an_item_twice(api: httpx.Client) -> None:
    items = [{"text": "twice"}, {"text": "twice"}, {"text": "twice", "metadata": {"n": 1}}, {"text": "twice"}]
    assert embed(api, *items) == ["stored", "unchanged", "updated", "unchanged"]
    found = point(api, hashlib.sha256(b"twice").hexdigest())
    assert found["metadata"] == {"n": 1}


def test_only_what_is_stored_has_a_status(api: httpx.Client) -> None:
    assert embed(api, {"text": "a"}, store=False) == [None]
    assert embed(api, {"text": "a"}, {"image": "bm8="}) == ["stored", None]


def test_a_file_that_was_lost_comes_back_with_known_content(server: ServerProcess) -> None:
    data = png("olive")
    assert upload(server.client, "a.png", data) == "stored"
    key = hashlib.sha256(data).hexdigest()
    (server.data_dir / "media" / "files" / key[:2] / key).unlink()
    assert upload(server.client, "a.png", data) == "unchanged"
    assert server.client.get("/media/x", params=HERE).content == data

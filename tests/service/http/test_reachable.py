"""Every id that is accepted names its point in each operation, over a real socket."""

import http.client
import json
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from server_process import ServerProcess

from service.client import Client

ODD = "aZ09 ./\\?#%&+=:;,@~\"'<>{}|^`[]()*!$é日\u00a0\u200b\ufeff\u202e\U0001f600\ue000%2F%00"
CONTROLS = ["\n", "\r", "\t", "\x00", "\x1f", "\x7f", "\x85", "\x9f", "\u2028", "\u2029"]
HERE = {"collection": "reached"}

ids = st.one_of(
    st.text(st.sampled_from(ODD), min_size=1, max_size=12),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40),
    st.sampled_from(
        [".", "..", "...", "/", "//", "a/../b", "../a", "./a", "a/.", "a/..", " ", " a ", "%2E", "%"]
    ),
    st.sampled_from(["x" * 512, "日" * 512, "\U0001f600" * 512, "x" * 513]),
)


@given(point_id=ids)
@settings(max_examples=250, deadline=None)
def test_an_id_that_is_accepted_is_reached_by_every_path(server: ServerProcess, point_id: str) -> None:
    api = server.client
    reply = api.post("/embed", json={"items": [{"text": "a", "id": point_id}], **HERE})
    if reply.status_code == 422:
        assert reply.json()["error"]["param"] == "items[0].id"
        return
    assert reply.is_success, reply.text
    [path] = {f"/points/{quote(point_id, safe='')}"}
    found = api.get(path, params=HERE)
    assert found.is_success and found.json()["id"] == point_id
    patched = api.patch(path, params=HERE, json={"metadata": {"id": point_id}})
    assert patched.is_success and patched.json()["metadata"] == {"id": point_id}
    assert api.get(patched.json()["media_url"]).content == b"a"
    assert as_it_is_written(server, patched.json()["media_url"]) == b"a"
    hits = api.post("/search", json={"query": {"id": point_id}, **HERE}).json()["hits"]
    assert [hit["id"] for hit in hits] == [point_id]
    where = json.dumps({"must": [{"has_id": [point_id]}]})
    assert api.get("/points", params={**HERE, "filter": where}).json()["count"] == 1
    with Client(server.url) as client:
        assert client.point(point_id, "reached").id == point_id
        assert client.media(point_id, "reached") == b"a"
        client.delete(point_id, "reached")
    assert api.get(path, params=HERE).status_code == 404


def as_it_is_written(server: ServerProcess, path: str) -> bytes:
    """What is at a path that nothing on the way has rewritten."""
    connection = http.client.HTTPConnection(*server.address, timeout=60)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    finally:
        connection.close()


@pytest.mark.parametrize("character", CONTROLS, ids=[f"U+{ord(each):04X}" for each in CONTROLS])
@pytest.mark.parametrize("place", ["{}a", "a{}", "a{}b"])
def test_an_id_with_a_control_character_is_refused_by_its_item(
    api: httpx.Client, character: str, place: str
) -> None:
    wrong = place.format(character)
    says = f"U+{ord(character):04X}"

    def check(reply: httpx.Response, param: str) -> None:
        error: dict[str, Any] = reply.json()["error"]
        assert (reply.status_code, error["param"]) == (422, param)
        assert says in error["message"] and param.replace("ids[", "ids: [") in error["message"]

    items = [{"text": "a"}, {"text": "b", "id": wrong}]
    check(api.post("/embed", json={"items": items, **HERE}), "items[1].id")
    form = {"texts": (None, "a"), "ids": (None, json.dumps([wrong]))}
    reply = api.post("/embed", files=form)
    assert reply.status_code == 422 and says in reply.json()["error"]["message"]
    check(api.post("/search", json={"query": {"id": wrong}}), "query[0].id")


@pytest.mark.parametrize("step", [".", ".."])
def test_an_id_that_every_browser_takes_for_a_step_is_refused(api: httpx.Client, step: str) -> None:
    reply = api.post("/embed", json={"items": [{"text": "a", "id": step}]})
    assert (reply.status_code, reply.json()["error"]["param"]) == (422, "items[0].id")

"""Whatever is embedded comes back: in vectors, in searches, and as the bytes it was."""

import base64
import hashlib

import httpx
import numpy as np
import pytest
from media_files import cloud, jpeg, png, wav
from tiny_encoders import CONTEXT
from vector_tolerance import assert_same_vectors

FILES = {"image": png("blue"), "audio": wav(), "point_cloud": cloud()}


def embed(api: httpx.Client, items: list[dict[str, object]], **options: object) -> list[dict[str, object]]:
    reply = api.post("/embed", json={"items": items, **options})
    assert reply.status_code == 200, reply.text
    return reply.json()["items"]


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_all_four_modalities_go_in_one_form(api: httpx.Client) -> None:
    files = [("files", (f"{modality}.bin", data)) for modality, data in FILES.items()]
    reply = api.post("/embed", files=files, data={"texts": ["a dog", "rain"], "collection": "form"})
    assert reply.status_code == 200
    body = reply.json()
    assert [item["modality"] for item in body["items"]] == [*FILES, "text", "text"]
    assert [item["index"] for item in body["items"]] == [0, 1, 2, 3, 4]
    assert body["items"][0]["id"] == hashlib.sha256(FILES["image"]).hexdigest()
    assert body["model"]["bundle"] == "tiny"
    assert set(body["timing_ms"]) == {"queue", "decode", "inference", "index", "total"}


def test_a_vector_is_the_same_however_it_is_sent(api: httpx.Client) -> None:
    as_form = api.post(
        "/embed",
        files={"files": ("x.png", FILES["image"])},
        data={"store": "false", "return_vectors": "true"},
    ).json()["items"][0]["vector"]
    (as_json,) = embed(api, [{"image": base64_of(FILES["image"])}], store=False, return_vectors=True)
    uri = f"data:image/png;base64,{base64_of(FILES['image'])}"
    (as_uri,) = embed(api, [{"image": uri}], store=False, return_vectors=True)
    assert_same_vectors(as_form, as_json["vector"])
    assert_same_vectors(as_form, as_uri["vector"])
    assert np.linalg.norm(as_form) == pytest.approx(1, abs=1e-5)


def test_alone_or_in_a_batch_the_vector_is_the_same(api: httpx.Client) -> None:
    images = [{"image": base64_of(jpeg(seed))} for seed in range(40)]
    together = embed(api, images, store=False, return_vectors=True)
    for image, item in list(zip(images, together, strict=True))[::13]:
        image["id"] = "another id"
        (alone,) = embed(api, [image], store=False, return_vectors=True)
        assert float(np.dot(alone["vector"], item["vector"])) > 0.9999


def test_sending_twice_stores_once(api: httpx.Client) -> None:
    for _ in range(2):
        embed(api, [{"text": "twice"}, {"text": "twice"}], collection="twice")
    assert api.get("/points", params={"collection": "twice"}).json()["count"] == 1


def test_nothing_is_stored_unless_asked(api: httpx.Client) -> None:
    embed(api, [{"text": "fleeting"}], store=False, collection="fleeting")
    assert api.get("/points", params={"collection": "fleeting"}).status_code == 404


def test_ids_and_metadata_are_kept(api: httpx.Client) -> None:
    embed(api, [{"text": "noted", "id": "n/1", "metadata": {"album": {"year": 2026}}}], collection="notes")
    point = api.get("/points/n%2F1", params={"collection": "notes"}).json()
    assert point["metadata"] == {"album": {"year": 2026}}
    assert point["text"] == "noted"


def test_a_form_gives_ids_and_metadata_to_files_then_texts(api: httpx.Client) -> None:
    reply = api.post(
        "/embed",
        files={"files": ("x.png", FILES["image"])},
        data={
            "texts": "t",
            "ids": '["pic", null]',
            "metadata": '[{"n": 1}, {"n": 2}]',
            "collection": "aligned",
        },
    )
    assert [item["id"] for item in reply.json()["items"]] == ["pic", hashlib.sha256(b"t").hexdigest()]
    points = api.get("/points", params={"collection": "aligned"}).json()["points"]
    assert {p["id"]: p["metadata"]["n"] for p in points} == {"pic": 1, hashlib.sha256(b"t").hexdigest(): 2}


def test_one_bad_item_does_not_spoil_the_others(api: httpx.Client) -> None:
    items = embed(
        api, [{"text": "fine"}, {"image": base64_of(b"not an image")}, {"audio": "%%%"}], store=False
    )
    assert items[0]["modality"] == "text"
    assert [item["error"]["param"] for item in items[1:]] == ["items[1]", "items[2]"]
    assert {item["error"]["type"] for item in items[1:]} == {"invalid_request_error"}
    assert "base64" in items[2]["error"]["message"]


def test_an_item_the_encoder_fails_on_fails_alone(api: httpx.Client) -> None:
    items = embed(api, [{"text": f"good {i}"} for i in range(9)] + [{"text": "#fail"}], store=False)
    assert [("error" in item) for item in items] == [False] * 9 + [True]
    assert items[9]["error"]["code"] == "encoder_failed"


def test_a_batch_that_does_not_fit_in_memory_is_halved(api: httpx.Client) -> None:
    items = embed(api, [{"text": f"#memory {i}"} for i in range(8)], store=False)
    assert not any("error" in item for item in items)


def test_a_file_of_another_format_is_text_only_if_sent_as_text(api: httpx.Client) -> None:
    data = b"newmtl red"
    refused = api.post("/embed", files={"files": ("scene.mtl", data)}, data={"store": "false"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (415, "unsupported_media")
    assert "a list of an obj's materials" in refused.json()["error"]["message"]
    files = {"files": ("scene.mtl", data, "text/plain")}
    (item,) = api.post("/embed", files=files, data={"store": "false"}).json()["items"]
    assert item["modality"] == "text"


LONG = "word " * (CONTEXT - 1)
"""A text of one token more than the encoder reads."""
STRANGE = "日本 🐕"


def test_a_text_past_the_context_is_told_once_again_and_at_the_same_time(api: httpx.Client) -> None:
    wanted = {"used": CONTEXT, "given": CONTEXT + 1}
    together = embed(api, [{"text": LONG}, {"text": LONG}, {"text": LONG[5:]}], store=False)
    (again,) = embed(api, [{"text": LONG}], store=False)
    assert [item.get("truncated") for item in (*together, again)] == [wanted, wanted, None, wanted]
    assert all("understood" not in item for item in (*together, again))


@pytest.mark.parametrize("as_form", [True, False])
def test_a_text_past_the_context_is_refused_if_so_asked(api: httpx.Client, as_form: bool) -> None:
    collection = f"uncut-{as_form}"
    if as_form:
        form = {"texts": ["fine", LONG], "truncate": "false", "collection": collection}
        reply = api.post("/embed", data=form, files={"files": ("x.png", FILES["image"])})
    else:
        items = [{"image": base64_of(FILES["image"])}, {"text": "fine"}, {"text": LONG}]
        reply = api.post("/embed", json={"items": items, "truncate": False, "collection": collection})
    _, fine, cut = reply.json()["items"]
    assert "error" not in fine
    assert (cut["error"]["code"], cut["error"]["param"]) == ("invalid_request", "items[2]")
    said = cut["error"]["message"]
    assert ("texts[1]" if as_form else "items[2]") in said and "78 tokens" in said and "reads 77" in said
    assert api.get("/points", params={"collection": collection}).json()["count"] == 2


def test_a_request_of_texts_past_the_context_alone_is_refused(api: httpx.Client) -> None:
    reply = api.post("/embed", json={"items": [{"text": LONG}], "truncate": False})
    assert (reply.status_code, reply.json()["error"]["code"]) == (422, "invalid_request")


def test_a_text_of_which_no_word_is_known_is_told_and_not_stored(api: httpx.Client) -> None:
    strange, known = embed(api, [{"text": STRANGE}, {"text": "known"}], collection="strange")
    assert (strange["understood"], strange["status"]) == (False, "not_stored")
    assert "understood" not in known and known.get("status") != "not_stored"
    points = api.get("/points", params={"collection": "strange"}).json()["points"]
    assert [point["text"] for point in points] == ["known"]
    (unstored,) = embed(api, [{"text": STRANGE}], store=False)
    assert unstored["understood"] is False and "status" not in unstored
    (asked,) = embed(api, [{"text": STRANGE}], collection="strange", store_not_understood=True)
    assert asked["understood"] is False and asked.get("status") != "not_stored"
    assert api.get("/points", params={"collection": "strange"}).json()["count"] == 2


def test_nothing_is_made_for_texts_of_which_no_word_is_known(api: httpx.Client) -> None:
    (item,) = embed(api, [{"text": "?!"}], collection="strangers")
    assert item["status"] == "not_stored"
    names = [each["name"] for each in api.get("/collections").json()["collections"]]
    assert "strangers" not in names


def test_the_reply_says_where_its_time_went(api: httpx.Client) -> None:
    headers = api.post("/embed", json={"items": [{"text": "timed"}], "store": False}).headers
    for stage in ("queue", "decode", "inference", "index", "total"):
        assert float(headers[f"x-{stage}-time"]) >= 0
        assert f"{stage};dur=" in headers["server-timing"]
    assert float(headers["x-inference-time"]) > 0

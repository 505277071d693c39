"""Anything stored is found by itself, by its id, by its vector, and in the company of other queries."""

import base64

import httpx
import numpy as np
import pytest
from media_files import cloud, png, wav

COLLECTION = "search"
FILES = {"image": png("green"), "audio": wav(300), "point_cloud": cloud(3)}


@pytest.fixture(scope="module", autouse=True)
def _stored(server) -> None:
    for modality, data in FILES.items():
        reply = server.client.post(
            "/embed",
            files={"files": (modality, data)},
            data={
                "ids": f'["{modality}"]',
                "collection": COLLECTION,
                "metadata": f'{{"kind": "{modality}"}}',
            },
        )
        assert reply.status_code == 200
    items = [
        {"text": text, "id": f"t{i}", "metadata": {"n": i, "even": i % 2 == 0}}
        for i, text in enumerate(["a dog barks", "rain falls", "a violin", "a red chair", "the sea", "a bee"])
    ]
    assert server.client.post("/embed", json={"items": items, "collection": COLLECTION}).status_code == 200


def search(api: httpx.Client, query: list[dict[str, object]], **params: object) -> list[dict[str, object]]:
    reply = api.post("/search", json={"query": query, "collection": COLLECTION, **params})
    assert reply.status_code == 200, reply.text
    return reply.json()["hits"]


@pytest.mark.parametrize("modality", FILES)
def test_media_find_themselves(api: httpx.Client, modality: str) -> None:
    data = base64.b64encode(FILES[modality]).decode()
    best = search(api, [{modality: data}])[0]
    assert (best["id"], best["modality"]) == (modality, modality)
    assert best["cosine"] == pytest.approx(1, abs=1e-4)
    assert best["metadata"] == {"kind": modality}
    assert api.get(best["media_url"]).content == FILES[modality]


def test_a_file_in_a_form_finds_the_same(api: httpx.Client) -> None:
    reply = api.post(
        "/search",
        files={"files": ("q.wav", FILES["audio"])},
        data={"params": f'{{"collection": "{COLLECTION}", "limit": 2}}'},
    )
    hits = reply.json()["hits"]
    assert len(hits) == 2
    assert hits[0]["id"] == "audio"


def test_limits_of_the_encoder_are_told(api: httpx.Client) -> None:
    query = [{"id": "t0"}, {"text": "a dog"}, {"text": "word " * 100}, {"text": "🐕", "weight": 0.1}]
    reply = api.post("/search", json={"query": query, "collection": COLLECTION})
    assert reply.json()["warnings"] == [
        {"param": "query[2]", "truncated": {"used": 77, "given": 102}},
        {"param": "query[3]", "understood": False},
    ]
    plain = api.post("/search", json={"query": query[:2], "collection": COLLECTION})
    assert "warnings" not in plain.json()


def test_a_stored_point_and_a_vector_are_queries_too(api: httpx.Client) -> None:
    by_id = search(api, [{"id": "t2"}], with_vectors=True)
    assert by_id[0]["id"] == "t2"
    by_vector = search(api, [{"vector": by_id[0]["vector"]}])
    assert [hit["id"] for hit in by_vector] == [hit["id"] for hit in by_id]


def test_target_modalities_are_the_only_ones(api: httpx.Client) -> None:
    hits = search(api, [{"text": "a dog barks"}], target_modalities=["image", "audio"])
    assert {hit["modality"] for hit in hits} == {"image", "audio"}


def test_scores_fall_and_lie_between_0_and_1(api: httpx.Client) -> None:
    scores = [hit["score"] for hit in search(api, [{"text": "a violin"}])]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)


def test_pages_join_into_the_whole(api: httpx.Client) -> None:
    whole = [hit["id"] for hit in search(api, [{"text": "the sea"}], limit=9)]
    pages = [
        hit["id"]
        for offset in (0, 4, 8)
        for hit in search(api, [{"text": "the sea"}], limit=4, offset=offset)
    ]
    assert len(whole) == 9
    assert pages == whole


def test_a_filter_narrows_the_search(api: httpx.Client) -> None:
    where = {"must": [{"key": "metadata.n", "match": {"any": [0, 2, 4]}}]}
    assert {h["id"] for h in search(api, [{"text": "rain"}], filter=where)} == {"t0", "t2", "t4"}


def test_a_threshold_cuts_by_score(api: httpx.Client) -> None:
    everything = search(api, [{"text": "a bee"}])
    threshold = everything[3]["score"]
    assert len(search(api, [{"text": "a bee"}], score_threshold=threshold)) == 4


def test_each_group_has_its_best_hit(api: httpx.Client) -> None:
    hits = search(api, [{"text": "a dog barks"}], group_by="metadata.even")
    assert sorted(hit["group"] for hit in hits) == [False, True]
    assert hits[0]["id"] == "t0"


def test_a_quota_bounds_every_modality(api: httpx.Client) -> None:
    hits = search(api, [{"text": "a dog barks"}], quota=1)
    assert sorted(hit["modality"] for hit in hits) == ["audio", "image", "point_cloud", "text"]


def test_a_quota_may_name_the_modalities_it_bounds(api: httpx.Client) -> None:
    hits = search(api, [{"text": "a dog barks"}], quota={"text": 2})
    assert sorted(hit["modality"] for hit in hits) == ["audio", "image", "point_cloud", "text", "text"]


def test_the_shares_of_an_explained_hit_add_up_to_its_cosine(api: httpx.Client) -> None:
    query = [{"text": "a dog barks"}, {"id": "image", "weight": 0.5}, {"text": "rain", "weight": -0.4}]
    hits = search(api, query, explain=True)
    assert len(hits) == 9
    for hit in hits:
        shares = hit["explain"]
        assert [share["index"] for share in shares] == [0, 1, 2]
        assert [share["weight"] for share in shares] == [1, 0.5, -0.4]
        assert [share["modality"] for share in shares] == ["text", "image", "text"]
        assert sum(share["share"] for share in shares) == pytest.approx(hit["cosine"], abs=1e-4)
        assert "vector" not in hit
    [itself] = [hit for hit in hits if hit["id"] == "image"]
    assert itself["explain"][1]["cosine"] == pytest.approx(1, abs=1e-4)
    assert "explain" not in search(api, query)[0]


def test_what_is_stored_twice_is_found_once_if_asked_for(api: httpx.Client) -> None:
    items = [{"text": "a dog barks", "id": f"twin{i}", "metadata": {"twin": True}} for i in range(5)]
    items += [{"text": "quite another thing 0123", "id": "other", "metadata": {"twin": True}}]
    assert api.post("/embed", json={"items": items, "collection": "twins"}).is_success
    options = {"query": [{"text": "a dog barks"}], "collection": "twins", "limit": 2}
    twice = api.post("/search", json=options).json()["hits"]
    assert [hit["id"][:4] for hit in twice] == ["twin", "twin"]
    once = api.post("/search", json={**options, "dedupe": 0.999}).json()["hits"]
    assert [hit["id"][:4] for hit in once] == ["twin", "othe"]
    varied = api.post("/search", json={**options, "diversity": 0.9}).json()["hits"]
    assert [hit["id"][:4] for hit in varied] == ["twin", "othe"]
    assert api.delete("/collections/twins").is_success


def test_equal_texts_come_once_each_in_pages_of_one(api: httpx.Client) -> None:
    items = [{"text": "a dog barks", "id": name} for name in ("s3", "s1", "s2")]
    assert api.post("/embed", json={"items": items, "collection": "equals"}).is_success
    options = {"query": [{"text": "a dog barks"}], "collection": "equals", "limit": 1}
    pages = [api.post("/search", json={**options, "offset": start}).json()["hits"] for start in range(4)]
    assert [[hit["id"] for hit in page] for page in pages] == [["s1"], ["s2"], ["s3"], []]
    assert api.delete("/collections/equals").is_success


@pytest.mark.parametrize("options", [{"dedupe": 0.99}, {"diversity": 0.5}, {"group_by": "metadata.n"}])
def test_pages_of_what_is_chosen_join_into_the_whole(api: httpx.Client, options: dict[str, object]) -> None:
    whole = [hit["id"] for hit in search(api, [{"text": "the sea"}], limit=6, **options)]
    pages = [
        hit["id"]
        for offset in range(0, 6, 2)
        for hit in search(api, [{"text": "the sea"}], limit=2, offset=offset, **options)
    ]
    assert len(whole) == 6
    assert pages == whole


def test_a_negative_weight_steers_away(api: httpx.Client) -> None:
    towards = search(api, [{"id": "t0"}, {"id": "t1", "weight": 0.9}])
    away = search(api, [{"id": "t0"}, {"id": "t1", "weight": -0.9}])
    cosine = {name: {h["id"]: h["cosine"] for h in hits} for name, hits in (("+", towards), ("-", away))}
    assert cosine["+"]["t1"] > 0.5 > 0 > cosine["-"]["t1"]


def test_queries_combine_as_the_weighted_sum(api: httpx.Client) -> None:
    a, b = (search(api, [{"id": i}], with_vectors=True)[0]["vector"] for i in ("t0", "image"))
    total = 2 * np.array(a) - 0.5 * np.array(b)
    expected = search(api, [{"vector": total.tolist()}])
    combined = search(api, [{"id": "t0", "weight": 2}, {"id": "image", "weight": -0.5}])
    assert [h["id"] for h in combined] == [h["id"] for h in expected]
    assert combined[0]["cosine"] == pytest.approx(expected[0]["cosine"], abs=1e-5)


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"query": []}, 422, "query"),
        ({"query": [{"text": "a", "image": "b"}]}, 422, "query[0]"),
        ({"query": [{}]}, 422, "query[0]"),
        ({"query": [{"text": "a"}], "limit": -1}, 422, "limit"),
        ({"query": [{"text": "a"}], "limit": 100_000}, 422, "limit"),
        ({"query": [{"text": "a"}], "offset": -1}, 422, "offset"),
        ({"query": [{"text": "a"}], "offset": 9_999}, 422, "offset"),
        ({"query": [{"text": "a"}], "target_modalities": ["smell"]}, 422, "target_modalities[0]"),
        ({"query": [{"text": "a"}], "filter": {"must": "x"}}, 400, None),
        ({"query": [{"text": "a"}], "group_by": "colour"}, 400, None),
        ({"query": [{"text": "a"}], "group_by": ""}, 400, None),
        ({"query": [{"id": "nobody"}]}, 404, "query[0].id"),
        ({"query": [{"vector": [1.0]}]}, 422, "query[0].vector"),
        ({"query": [{"vector": [0.0] * 32}]}, 422, "query[0].vector"),
        ({"query": [{"text": "a"}, {"text": "a", "weight": -1}]}, 422, "query"),
        ({"query": [{"image": "http://example.org/x.png"}]}, 415, "query[0]"),
        ({"query": [{"text": "a"}], "colour": "red"}, 422, "colour"),
        ({"query": [{"text": "a"}], "quota": {"smell": 1}}, 422, None),
        ({"query": [{"text": "a"}], "quota": 0}, 422, None),
        ({"query": [{"text": "a"}], "dedupe": 1.5}, 422, "dedupe"),
        ({"query": [{"text": "a"}], "diversity": -0.1}, 422, "diversity"),
        ({"query": [{"text": "a"}], "diversity": 0.1, "limit": 150, "offset": 51}, 422, "limit"),
    ],
)
def test_a_wrong_query_is_told_what_is_wrong(
    api: httpx.Client, body: dict[str, object], status: int, param: str | None
) -> None:
    reply = api.post("/search", json={**body, "collection": COLLECTION})
    assert reply.status_code == status, reply.text
    if param is not None:
        assert reply.json()["error"]["param"] == param


def test_an_empty_collection_has_no_hits(api: httpx.Client) -> None:
    assert api.put("/collections/nothing-here").is_success
    reply = api.post("/search", json={"query": [{"text": "a"}], "collection": "nothing-here"})
    assert reply.json()["hits"] == []
    assert api.delete("/collections/nothing-here").is_success

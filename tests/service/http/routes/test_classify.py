"""Labels are ranked by their cosine to the item, and their probabilities sum to one."""

import base64

import httpx
import pytest
from media_files import png

LABELS = ["a dog", "rain", "a violin"]


def classify(api: httpx.Client, item: dict[str, str], **options: object) -> list[dict[str, object]]:
    reply = api.post("/classify", json={"item": item, "labels": LABELS, **options})
    assert reply.status_code == 200, reply.text
    return reply.json()["labels"]


def test_a_text_is_most_like_itself(api: httpx.Client) -> None:
    labels = classify(api, {"text": "rain"})
    assert labels[0]["label"] == "rain"
    assert labels[0]["cosine"] == pytest.approx(1, abs=1e-4)
    assert sum(each["probability"] for each in labels) == pytest.approx(1)


def test_an_image_and_a_stored_point_of_it_agree(api: httpx.Client) -> None:
    image = {"image": base64.b64encode(png("olive")).decode()}
    stored = {"items": [{**image, "id": "olive"}], "collection": "classify"}
    assert api.post("/embed", json=stored).is_success
    by_id = classify(api, {"id": "olive"}, collection="classify")
    for one, other in zip(classify(api, image), by_id, strict=True):
        assert one["label"] == other["label"]
        assert one["cosine"] == pytest.approx(other["cosine"], abs=1e-4)


def test_a_template_is_put_around_the_label(api: httpx.Client) -> None:
    assert classify(api, {"text": "a photo of rain"}, template="a photo of {}")[0]["label"] == "rain"


def test_limits_of_the_encoder_are_told(api: httpx.Client) -> None:
    body = {"item": {"text": "word " * 100}, "labels": ["rain", "🐕", "a dog"]}
    assert api.post("/classify", json=body).json()["warnings"] == [
        {"param": "item", "truncated": {"used": 77, "given": 102}},
        {"param": "labels[1]", "understood": False},
    ]
    assert "warnings" not in api.post("/classify", json={"item": {"text": "a"}, "labels": ["a"]}).json()


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"item": {"text": "x"}, "labels": []}, "labels"),
        ({"item": {}, "labels": ["a"]}, "item"),
        ({"item": {"text": "x"}, "labels": ["a"], "template": "no place"}, "template"),
        ({"item": {"text": "x"}, "labels": ["a", ""]}, "labels[1]"),
    ],
)
def test_mistakes_are_named(api: httpx.Client, body: dict[str, object], param: str) -> None:
    reply = api.post("/classify", json=body)
    assert (reply.status_code, reply.json()["error"]["param"]) == (422, param)

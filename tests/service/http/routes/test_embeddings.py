"""OpenAI's own client embeds here, without knowing it."""

import base64

import httpx
import numpy as np
import openai
import pytest
from media_files import png
from server_process import ServerProcess
from vector_tolerance import assert_same_vectors

IMAGE = {"image": f"data:image/png;base64,{base64.b64encode(png('teal')).decode()}"}


@pytest.fixture
def client(server: ServerProcess) -> openai.OpenAI:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def vector_of(api: httpx.Client, item: dict[str, str]) -> list[float]:
    body = {"items": [item], "store": False, "return_vectors": True}
    return api.post("/embed", json=body).json()["items"][0]["vector"]


def test_texts_have_the_vectors_of_embed(client: openai.OpenAI, api: httpx.Client) -> None:
    reply = client.embeddings.create(model="tiny", input=["a dog", "rain"], encoding_format="float")
    assert [each.index for each in reply.data] == [0, 1]
    assert_same_vectors(reply.data[1].embedding, vector_of(api, {"text": "rain"}))
    assert reply.model == "tiny"
    assert reply.usage.prompt_tokens == reply.usage.total_tokens == 4 + 3


def test_base64_holds_the_same_numbers(client: openai.OpenAI) -> None:
    # Left to itself the client asks for base64 and decodes it.
    as_base64 = client.embeddings.create(model="tiny", input="a dog").data[0].embedding
    as_float = client.embeddings.create(model="tiny", input="a dog", encoding_format="float")
    assert_same_vectors(as_base64, as_float.data[0].embedding)


def test_fewer_dimensions_are_the_first_ones_normalised(client: openai.OpenAI) -> None:
    whole = np.array(client.embeddings.create(model="tiny", input="a dog").data[0].embedding)
    short = client.embeddings.create(model="tiny", input="a dog", dimensions=8).data[0].embedding
    assert_same_vectors(short, whole[:8] / np.linalg.norm(whole[:8]))


def test_media_are_typed_objects(client: openai.OpenAI, api: httpx.Client) -> None:
    reply = client.embeddings.create(model="tiny", input=["a dog", IMAGE])  # type: ignore[list-item]
    assert_same_vectors(reply.data[1].embedding, vector_of(api, IMAGE))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"input": []}, "at least one"),
        ({"input": "a", "dimensions": 0}, "dimensions"),
        ({"input": "a", "dimensions": 1000}, "32"),
        ({"input": ["fine", ""]}, "input[1]"),
        ({"input": [{"image": "%%"}]}, "base64"),
    ],
)
def test_mistakes_are_the_clients_own_exceptions(
    client: openai.OpenAI, options: dict[str, object], says: str
) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as raised:
        client.embeddings.create(model="tiny", **options)
    assert says in raised.value.message
    assert raised.value.type == "invalid_request_error"


def test_limits_of_the_encoder_are_told(api: httpx.Client) -> None:
    body = {"model": "tiny", "input": ["a dog", "word " * 100, "🐕"]}
    short, long, strange = api.post("/v1/embeddings", json=body).json()["data"]
    assert set(short) == {"object", "index", "embedding"}
    assert long["truncated"] == {"used": 77, "given": 102}
    assert strange["understood"] is False


def test_a_text_past_the_context_is_refused_if_so_asked(client: openai.OpenAI) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as raised:
        texts = ["a dog", "word " * 100]
        client.embeddings.create(model="tiny", input=texts, extra_body={"truncate": False})
    assert raised.value.code == "invalid_request"
    assert raised.value.param == "input[1]"
    assert "input[1] has 102 tokens" in raised.value.message and "reads 77" in raised.value.message


def test_the_bundle_is_listed_as_a_model(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["tiny"]

"""The client does in a line what the REST interface does in a request."""

from pathlib import Path

import pytest
from media_files import jpeg, wav
from server_process import ServerProcess

from service.client import Client, RequestFailed


@pytest.fixture
def client(server: ServerProcess) -> Client:
    with Client(server.url) as client:
        yield client


def test_files_and_texts_are_stored_found_and_fetched(client: Client, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg(21))
    (tmp_path / "b.wav").write_bytes(wav(210))
    files = [tmp_path / "a.jpg", tmp_path / "b.wav"]
    items = client.embed(files, ["c"], ids=["a/1", None, "c"], metadata={"by": "client"}, collection="client")
    assert [item.modality for item in items] == ["image", "audio", "text"]
    hit = client.search([files[0]], collection="client", limit=1)[0]
    assert (hit.id, hit.metadata) == ("a/1", {"by": "client"})
    for query in ([{"id": "c"}], {"id": "c"}, "c", ["c"]):
        assert client.search(query=query, collection="client")[0].id == "c"
    assert client.point("a/1", "client").name == "a.jpg"
    assert client.media("a/1", "client") == jpeg(21)
    client.delete("a/1", "client")
    with pytest.raises(RequestFailed, match="no point") as failed:
        client.point("a/1", "client")
    assert failed.value.status == 404


def test_labels_are_ranked(client: Client) -> None:
    assert client.ready()
    assert client.classify({"text": "rain"}, ["a dog", "rain"])[0].label == "rain"
    with pytest.warns(UserWarning, match=r"query\[0\]: the encoder knows no word"):
        client.search(texts=["\U0001fae0"], collection="client")
    with pytest.warns(UserWarning, match=r"labels\[1\]: of \d+ tokens the encoder read"):
        client.classify({"text": "rain"}, ["a dog", "rain " * 200])


def test_a_refusal_says_why(client: Client, tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    with pytest.raises(RequestFailed, match=r"empty\.png is empty") as failed:
        client.embed([tmp_path / "empty.png"])
    assert failed.value.body["param"] == "items[0]"

"""What the service says of itself: its description, its health, its metrics, its connectors."""

import httpx


def test_every_operation_is_described_with_an_example(api: httpx.Client) -> None:
    paths = api.get("/openapi.json").json()["paths"]
    assert {"/embed", "/search", "/classify", "/v1/embeddings", "/points", "/media/{id}"} <= set(paths)
    for path, operations in paths.items():
        for method, operation in operations.items():
            assert operation["summary"] and operation["description"], (method, path)
            done = next(reply for status, reply in operation["responses"].items() if status.startswith("2"))
            content = done.get("content", {})
            if "application/json" in content and path != "/metrics":
                assert "example" in content["application/json"], (method, path)
            body = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if body:
                assert body["examples"], (method, path)


def test_every_reference_in_the_description_resolves(api: httpx.Client) -> None:
    text = api.get("/openapi.json").text
    schemas = api.get("/openapi.json").json()["components"]["schemas"]
    names = [part.split('"')[0] for part in text.split("#/components/schemas/")[1:]]
    assert set(names) <= set(schemas)
    assert api.get("/docs").status_code == 200


def test_health_says_what_answers(api: httpx.Client) -> None:
    assert api.get("/livez").json() == {"status": "alive"}
    ready = api.get("/readyz").json()
    assert ready["status"] == "ready"
    assert ready["encoders"] == {"clip": "ok", "clap": "ok", "ulip": "ok"}
    assert ready["index"] == "ok"


def test_metrics_count_requests_batches_and_stages(api: httpx.Client) -> None:
    api.post("/embed", json={"items": [{"text": "counted"}], "store": False})
    text = api.get("/metrics").text
    assert 'isthmus_request_seconds_count{route="/embed",status="200"}' in text
    assert 'isthmus_batch_items_count{encoder="clip",modality="text"}' in text
    assert 'isthmus_stage_seconds_count{stage="inference"}' in text
    assert 'isthmus_queue_depth{encoder="clip"} 0.0' in text


def test_connectors_tell_their_version_and_heads(api: httpx.Client) -> None:
    body = api.get("/connectors").json()
    assert body["dim"] == 32
    assert body["spaces"] == {"clip": ["text", "image"], "clap": ["audio"], "ulip": ["point_cloud"]}
    assert [connector["method"] for connector in body["connectors"]] == ["exmcr", "exmcr"]


def test_a_request_keeps_the_id_its_client_gave_it(api: httpx.Client) -> None:
    assert api.get("/livez", headers={"x-request-id": "mine-1"}).headers["x-request-id"] == "mine-1"
    assert api.get("/livez", headers={"x-request-id": "x" * 500}).headers["x-request-id"] != "x" * 500

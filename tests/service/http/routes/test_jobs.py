import httpx


def test_a_job_that_is_not_there_is_a_404_in_every_way(api: httpx.Client) -> None:
    for reply in (
        api.get("/jobs/nope"),
        api.post("/jobs/nope/pause"),
        api.post("/jobs/nope/resume"),
        api.post("/jobs/nope/cancel"),
        api.delete("/jobs/nope"),
    ):
        assert (reply.status_code, reply.json()["error"]["code"]) == (404, "not_found")
    assert api.post("/jobs/nope/hasten").status_code == 422
    assert api.get("/jobs", params={"state": "tired"}).status_code == 422


def test_jobs_are_listed_by_kind_and_state(api: httpx.Client) -> None:
    assert api.get("/jobs", params={"kind": "nothing", "state": "done"}).json() == {"jobs": []}

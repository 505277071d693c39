import re

import numpy as np
import pytest

from service.gallery.items import gallery_items
from service.http.web.page import STATIC, assets, thinned

SHAPES = [item for item in gallery_items() if item.modality == "point_cloud"]


def test_the_page_lets_nothing_run_or_load_but_its_own_files(api):
    reply = api.get("/")
    assert reply.status_code == 200 and reply.headers["content-type"].startswith("text/html")
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?! type=\"module\" src=)", reply.text)
    assert not re.search(r"(src|href)=\"(https?:)?//", reply.text)


def test_everything_the_page_names_is_there_and_may_be_kept_for_ever(api):
    named = re.findall(r'(?:src|href)="(/assets/[^"]+)"', api.get("/").text)
    assert {path.rsplit(".")[-1] for path in named} == {"js", "css", "svg"}
    for path in named:
        reply = api.get(path)
        assert reply.status_code == 200 and "immutable" in reply.headers["cache-control"]
        assert reply.headers["x-content-type-options"] == "nosniff"


def test_every_module_a_script_imports_is_there():
    _, files = assets()
    for name, data in files.items():
        if name.endswith(".js"):
            imported = re.findall(r'from "\./([^"]+)"', data.decode())
            assert set(imported) <= set(files), name


def test_scripts_never_parse_what_users_write():
    for path in STATIC.glob("*.js"):
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b", path.read_text()
        )


def test_a_page_that_has_not_changed_is_not_sent_again(api):
    etag = api.get("/").headers["etag"]
    reply = api.get("/", headers={"if-none-match": etag})
    assert reply.status_code == 304 and not reply.content


@pytest.mark.parametrize(
    "path", ["/assets/0000/page.js", "/assets/0000/..%2fpage.py", "/assets/x/../../page.py"]
)
def test_other_files_are_not_served(api, path):
    reply = api.get(path)
    assert reply.status_code == 404 and reply.json()["error"]["code"] == "not_found"


@pytest.mark.parametrize("item", SHAPES[:9], ids=lambda item: item.filename)
def test_a_stored_shape_of_any_format_comes_as_points_in_the_unit_sphere(api, item):
    stored = api.post("/embed", files=[("files", (item.filename, item.data))], data={"collection": "shapes"})
    point = stored.raise_for_status().json()["items"][0]["id"]
    reply = api.get(f"/clouds/{point}", params={"count": 500, "collection": "shapes"})
    points = np.frombuffer(reply.raise_for_status().content, "<f4").reshape(-1, 3)
    assert len(points) == 500
    assert 0.9 < np.linalg.norm(points, axis=1).max() <= 1 + 1e-6


def test_only_stored_shapes_come_as_points(api):
    api.post("/embed", json={"items": [{"text": "words", "id": "page-words"}], "collection": "shapes"})
    assert api.get("/clouds/page-words", params={"collection": "shapes"}).status_code == 422
    assert api.get("/clouds/nothing-here").status_code == 404
    assert api.get("/clouds/page-words", params={"count": 0}).status_code == 422


def test_a_cloud_that_is_one_place_is_drawn_in_the_middle():
    points = thinned(np.full((5, 3), 7.0, dtype=np.float32), 10)
    assert points.shape == (5, 3) and not points.any()

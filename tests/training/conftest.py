import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest


def write_table(path: Path, header: str, rows: Sequence[Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header.split(","))
        writer.writerows(rows)


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder in small: tables and words as the real one has them, no media but the clouds."""
    root = tmp_path_factory.mktemp("data")
    write_table(
        root / "images" / "emoji" / "meta.csv",
        "file,name,keywords,unicode,concept,licence,attribution",
        [
            ("a.webp", "dog face", "pet;animal", "U", "dog", "MIT", ""),
            ("b.webp", "guide dog", "", "U", "dog", "MIT", ""),
            ("c.webp", "man cook", "chef", "U", "", "MIT", ""),
            ("d.webp", "woman cook", "chef", "U", "", "MIT", ""),
        ],
    )
    clouds = [
        (0, "p.dog", "dog", "dog", "p", "Ann", "CC0", 1, "shape", "p.dog", ""),
        (1, "p.dog-red", "dog", "dog", "p", "Ann", "CC0", 1, "shape", "p.dog", ""),
        (2, "p.chair1", "chair", "", "p", "Ann", "CC0", 1, "name", "p.chair1", ""),
        (3, "p.chair2", "chair", "", "p", "Ann", "CC0", 1, "name", "p.chair2", ""),
        (4, "q.chair", "chair", "", "q", "Bob", "CC0", 1, "name", "q.chair", ""),
    ]
    write_table(
        root / "pointclouds" / "meta.csv",
        "index,mesh_id,name,concept,pack,artist,licence,coloured,split_by,shape,source",
        clouds,
    )
    xyz = np.random.default_rng(0).normal(size=(5, 2048, 3)).astype(np.float16)
    np.savez(root / "pointclouds" / "train.npz", xyz=xyz, mesh_id=[c[1] for c in clouds])
    write_table(
        root / "images" / "renders" / "meta.csv",
        "file,mesh_id,name,view,concept,artist,licence",
        [(f"{c[1]}.0.webp", c[1], c[2], 0, c[3], c[5], "CC0") for c in clouds],
    )
    write_table(
        root / "images" / "photos" / "meta.csv",
        "file,label,source,licence,attribution",
        [
            ("g.jpg", "Granny-Smith (Apple, Fruit)", "GroceryStoreDataset", "MIT", "x"),
            ("m.jpg", "Arla-Standard-Milk (Milk, Packages)", "GroceryStoreDataset", "MIT", "x"),
            ("s.jpg", "Hat (kids)", "clothing-dataset", "CC0", "contributors (sender 204)"),
            ("t.jpg", "glass", "trashnet", "MIT", "x"),
        ],
    )
    write_table(
        root / "audio" / "esc" / "meta.csv",
        "file,label,concept,source_id,licence,attribution,fold,esc10",
        [(f"{k}.ogg", "door_wood_knock", "door", f"rec:{k // 2}", "CC0", "", 1, 0) for k in range(12)],
    )
    write_table(
        root / "audio" / "sounds" / "meta.csv",
        "file,words,concept,source_id,licence,attribution,collection",
        [("bark.ogg", "dog bark", "dog", "rec:99", "CC0", "", "")],
    )
    text = root / "text"
    text.mkdir()
    rng = np.random.default_rng(1)
    names = ["dog", "cat", "chair", "dog", "hot dog"]
    np.savez(text / "clip_names.npz", names=names, vectors=rng.normal(size=(5, 16)).astype(np.float16) + 2)
    (text / "audiocaps_train.txt").write_text("A dog barks loudly\nA dog is barking\n\nA cat meows\n")
    ontology = [{"id": "1", "name": "Growling", "description": "A low noise of a dog", "child_ids": []}]
    (text / "audioset_ontology.json").write_text(json.dumps(ontology))
    return root

"""Each benchmark is read from a tiny copy in its own layout, and every example of it can be loaded."""

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import samples
import trimesh
from tiny_video import write_video

from connectors.errors import ConfigError, MissingFiles
from connectors.modality import SAMPLE_RATE
from training.examples import Example, load
from training.readers import Dataset, read_dataset


def write(root: Path, files: dict[str, str | bytes]) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content.encode() if isinstance(content, str) else content)


def only(datasets: list[Dataset]) -> Dataset:
    assert len(datasets) == 1
    for modality, examples in datasets[0].examples.items():
        for example in examples:
            load(example, modality)
    return datasets[0]


def ids(dataset: Dataset, modality: str) -> list[str]:
    return [example.id for example in dataset.examples[modality]]  # type: ignore[index]


def labels(dataset: Dataset, modality: str) -> list[str | None]:
    return [example.label for example in dataset.examples[modality]]  # type: ignore[index]


def groups(dataset: Dataset, modality: str) -> list[str | None]:
    return [example.group for example in dataset.examples[modality]]  # type: ignore[index]


WAV = samples.sound_file(samples.tone(0.2))
JPG = samples.image_file(samples.picture(), "JPEG")
CLOUD = "".join(f"{x},{x * x % 7},{x % 5},0,0,1\n" for x in range(100))


def mesh(form: str) -> bytes:
    exported = trimesh.creation.box().export(file_type=form)
    return exported.encode() if isinstance(exported, str) else exported


def test_esc50(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "meta/esc50.csv": "filename,fold,target,category,esc10,src_file,take\n"
            "1-100032-A-0.wav,1,0,dog,True,100032,A\n1-100038-A-14.wav,1,14,chirping_birds,False,100038,A\n",
            "audio/1-100032-A-0.wav": WAV,
            "audio/1-100038-A-14.wav": WAV,
        },
    )
    dataset = only(read_dataset(tmp_path))
    assert labels(dataset, "audio") == ["dog", "chirping birds"]
    assert groups(dataset, "audio") == ["100032", "100038"]
    assert dataset.classes == ("chirping birds", "dog")


@pytest.mark.parametrize("name", ["test/r1nicOVtvkQ_130.wav", "waves/r1nicOVtvkQ.wav", "Yr1nicOVtvkQ.wav"])
def test_audiocaps_whatever_its_files_are_named_by(tmp_path: Path, name: str) -> None:
    write(
        tmp_path,
        {
            "test.csv": "audiocap_id,youtube_id,start_time,caption\n"
            '91139,r1nicOVtvkQ,130,"A woman talks, nearby water pours"\n91140,r1nicOVtvkQ,130,Water pours\n',
            name: WAV,
        },
    )
    dataset = only(read_dataset(tmp_path))
    assert dataset.name == "AudioCaps"
    assert ids(dataset, "audio") == ["r1nicOVtvkQ_130"]
    assert ids(dataset, "text") == ["r1nicOVtvkQ_130"] * 2
    assert groups(dataset, "audio") == ["r1nicOVtvkQ"]


def test_clotho(tmp_path: Path) -> None:
    captions = [f"caption_{n}" for n in range(1, 6)]
    with (tmp_path / "clotho_captions_evaluation.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file_name", *captions])
        table.writerow(["Rain, city.wav", *(f"rain falls {n}" for n in range(5))])
    write(tmp_path, {"evaluation/Rain, city.wav": WAV})
    dataset = only(read_dataset(tmp_path))
    assert ids(dataset, "audio") == ["Rain, city.wav"]
    assert [e.text for e in dataset.examples["text"]] == [f"rain falls {n}" for n in range(5)]


def karpathy(folder: str | None) -> str:
    def entry(number: int, split: str) -> dict[str, object]:
        sentences = [{"raw": f"picture {number}, {n}"} for n in range(2)]
        place = {} if folder is None else {"filepath": folder}
        return {"filename": f"{number}.jpg", "split": split, "sentences": sentences, **place}

    return json.dumps({"images": [entry(1, "train"), entry(2, "test")]})


def test_coco_in_karpathys_split(tmp_path: Path) -> None:
    write(tmp_path, {"dataset_coco.json": karpathy("val2014"), "val2014/2.jpg": JPG})
    dataset = only(read_dataset(tmp_path))
    assert (dataset.name, ids(dataset, "image"), ids(dataset, "text")) == ("COCO", ["2.jpg"], ["2.jpg"] * 2)


@pytest.mark.parametrize("folder", ["val2017", "images/val2017"])
def test_coco_in_its_own_annotations(tmp_path: Path, folder: str) -> None:
    annotations = {
        "images": [{"id": 9, "file_name": "000009.jpg"}],
        "annotations": [{"image_id": 9, "id": 1, "caption": "a cat"}],
    }
    write(
        tmp_path,
        {"annotations/captions_val2017.json": json.dumps(annotations), f"{folder}/000009.jpg": JPG},
    )
    dataset = only(read_dataset(tmp_path))
    assert (ids(dataset, "image"), ids(dataset, "text")) == (["9"], ["9"])


def test_flickr30k(tmp_path: Path) -> None:
    write(tmp_path, {"dataset_flickr30k.json": karpathy(None), "flickr30k-images/2.jpg": JPG})
    dataset = only(read_dataset(tmp_path))
    assert (dataset.name, ids(dataset, "image")) == ("Flickr30K", ["2.jpg"])


def test_ave_takes_an_events_sound_and_its_middle_picture(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"testSet.txt": "Church bell&RUhOCu3LNXM&good&1&3\nMale speech&RUhOCu3LNXM&good&0&0\n", "AVE/x": ""},
    )
    write_video(tmp_path / "AVE" / "RUhOCu3LNXM.mp4")
    dataset = only(read_dataset(tmp_path))
    assert labels(dataset, "audio") == labels(dataset, "image") == ["Church bell"]
    waveform = load(dataset.examples["audio"][0], "audio")
    assert isinstance(waveform, np.ndarray)
    assert len(waveform) == 2 * SAMPLE_RATE


def test_vggss(tmp_path: Path) -> None:
    entries = [{"file": f"clip_00000{n}", "class": "dog barking", "bbox": [[0, 0, 1, 1]]} for n in (1, 2)]
    write(
        tmp_path,
        {
            "vggss.json": json.dumps(entries),
            "frames/clip_000001.jpg": JPG,
            "audio/clip_000001.wav": WAV,
            "audio/clip_000002.wav": WAV,
        },
    )
    dataset = only(read_dataset(tmp_path))
    assert (dataset.name, ids(dataset, "audio"), ids(dataset, "image")) == (
        "VGG-SS",
        ["clip_000001"],
        ["clip_000001"],
    )


def test_flickrnet(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"Annotations/10000130166.xml": "<annotation/>", "frames/10000130166.jpg": JPG},
    )
    with pytest.raises(MissingFiles, match=r"none of 1 annotated clips"):
        write(tmp_path, {"audio/other.wav": WAV})
        read_dataset(tmp_path)
    write(tmp_path, {"audio/10000130166.wav": WAV})
    assert ids(only(read_dataset(tmp_path)), "image") == ["10000130166"]


def test_modelnet40_resampled(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "modelnet40_shape_names.txt": "airplane\nnight_stand\n",
            "modelnet40_test.txt": "airplane_0627\nnight_stand_0201\n",
            "airplane/airplane_0627.txt": CLOUD,
            "night_stand/night_stand_0201.txt": CLOUD,
        },
    )
    dataset = only(read_dataset(tmp_path))
    assert dataset.classes == ("airplane", "night stand")
    points = load(dataset.examples["point_cloud"][0], "point_cloud")
    assert isinstance(points, np.ndarray)
    assert points.shape == (100, 3)


def test_modelnet40_meshes(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"chair/test/chair_0890.off": mesh("off"), "chair/train/chair_0001.off": mesh("off")},
    )
    dataset = only(read_dataset(tmp_path))
    assert (ids(dataset, "point_cloud"), labels(dataset, "point_cloud")) == (["chair_0890"], ["chair"])


def test_objaverse_lvis_as_objaverse_keeps_it(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "lvis-annotations.json.gz": gzip.compress(json.dumps({"teddy_bear": ["u1", "u2"]}).encode()),
            "object-paths.json.gz": gzip.compress(json.dumps({"u1": "glbs/000-023/u1.glb"}).encode()),
            "glbs/000-023/u1.glb": mesh("glb"),
            "renders/u1.jpg": JPG,
        },
    )
    dataset = only(read_dataset(tmp_path))
    assert ids(dataset, "point_cloud") == ids(dataset, "image") == ["u1"]
    assert dataset.classes == ("teddy bear",)


def test_objaverse_lvis_by_a_split_file(tmp_path: Path) -> None:
    cloud = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
    (tmp_path / "points").mkdir()
    np.save(tmp_path / "points" / "u1.npy", cloud)
    write(
        tmp_path,
        {"lvis.json": json.dumps([{"uid": "u1", "category": "mug", "data_path": "/points/u1.npy"}])},
    )
    assert labels(only(read_dataset(tmp_path)), "point_cloud") == ["mug"]


def test_jsonl(tmp_path: Path) -> None:
    rows = [
        {"id": "7", "label": "dog", "text": ["a dog barks", "barking"], "image": "7.jpg", "audio": "7.wav"},
        {"text": "rain", "group": "weather"},
    ]
    write(tmp_path, {"pets.jsonl": "".join(json.dumps(r) + "\n" for r in rows), "7.jpg": JPG, "7.wav": WAV})
    dataset = only(read_dataset(tmp_path / "pets.jsonl"))
    assert (dataset.name, dataset.classes) == ("pets", ("dog",))
    assert dataset.examples["text"] == [
        Example("7", text="a dog barks", label="dog"),
        Example("7", text="barking", label="dog"),
        Example("2", text="rain", group="weather"),
    ]


def test_jsonl_mistakes_are_named_with_their_line(tmp_path: Path) -> None:
    (tmp_path / "dataset.jsonl").write_text('{"text": "a"}\n{"sound": "b.wav"}\n')
    with pytest.raises(ConfigError, match=r"line 2: unknown keys \['sound'\]"):
        read_dataset(tmp_path)
    (tmp_path / "dataset.jsonl").write_text('{"image": 3}\n')
    with pytest.raises(ConfigError, match="line 1: image must be a string"):
        read_dataset(tmp_path)


def test_a_folder_like_no_dataset_lists_the_layouts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"(?s)esc50: meta/esc50\.csv.*modelnet40: "):
        read_dataset(tmp_path)
    with pytest.raises(ConfigError, match="unknown dataset 'imagenet'"):
        read_dataset(tmp_path, "imagenet")
    with pytest.raises(MissingFiles, match="does not exist"):
        read_dataset(tmp_path / "absent")


def test_a_copy_that_is_not_laid_out_as_asked_says_how_it_should_be(tmp_path: Path) -> None:
    (tmp_path / "dataset_coco.json").write_text('{"pictures": []}')
    with pytest.raises(ConfigError, match=r"not laid out as coco .*no 'images'"):
        read_dataset(tmp_path)
    with pytest.raises(ConfigError, match=r"not laid out as ave .*testSet\.txt"):
        read_dataset(tmp_path, "ave")


def write_data_folder(root: Path) -> None:
    """Thirty recordings, models and emoji in the training folder's layout."""
    numbers = range(30)
    ogg = samples.sound_file(samples.tone(0.1), form="OGG")
    webp = samples.image_file(samples.picture(), "WEBP")
    write(
        root,
        {
            "audio/esc/meta.csv": "file,label,concept,source_id\n"
            + "".join(f"{n}.ogg,door_wood_knock,door,freesound:{n}\n" for n in numbers),
            "audio/sounds/meta.csv": "file,words,concept,source_id\nx.ogg,gun,gun,s:1\n",
            "audio/sounds/x.ogg": ogg,
            "images/emoji/meta.csv": "file,name,keywords,concept\n"
            + "".join(f"{n}.webp,thing {n},a;b,\n" for n in numbers),
            "images/photos/meta.csv": "file,label,source,attribution\n",
            "images/renders/meta.csv": "file,mesh_id,name,concept\n"
            + "".join(f"{n}.webp,mesh{n},model {n},door\n" for n in numbers),
            "pointclouds/meta.csv": "index,mesh_id,name,concept,artist,shape,split_by\n"
            + "".join(f"{n},mesh{n},model {n},door,A,shape{n},name\n" for n in numbers),
            **{f"audio/esc/{n}.ogg": ogg for n in numbers},
            **{f"images/emoji/{n}.webp": webp for n in numbers},
            **{f"images/renders/{n}.webp": webp for n in numbers},
        },
    )
    clouds = np.random.default_rng(0).normal(size=(30, 64, 3)).astype(np.float16)
    np.savez(root / "pointclouds" / "train.npz", xyz=clouds)


def test_the_training_folder_gives_what_training_held_out(tmp_path: Path) -> None:
    write_data_folder(tmp_path)
    concepts, esc, models, pictures = read_dataset(tmp_path)
    whole = read_dataset(tmp_path, "data-folder-all")
    for part, all_of_it in zip((concepts, esc, models, pictures), whole, strict=True):
        for modality, examples in part.examples.items():
            assert 0 < len(examples) < len(all_of_it.examples[modality])
            for example in examples:
                load(example, modality)
    assert esc.classes == ("door wood knock",)
    assert set(ids(models, "image")) == set(ids(models, "point_cloud"))
    assert all(name.startswith("freesound:") for name in groups(esc, "audio"))
    assert all(groups(models, modality).count(None) == 0 for modality in ("image", "point_cloud"))

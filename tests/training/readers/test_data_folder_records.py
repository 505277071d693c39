from pathlib import Path

from training.readers.data_folder_records import (
    photo_words,
    read_clips,
    read_clouds,
    read_pictures,
    read_points,
)


def test_copies_of_a_shape_and_an_artists_name_stay_together(data_folder: Path) -> None:
    group = {cloud.mesh: cloud.group for cloud in read_clouds(data_folder)}
    assert group["p.dog"] == group["p.dog-red"]
    assert group["p.chair1"] == group["p.chair2"] != group["q.chair"]
    assert group["p.dog"] != group["p.chair1"]
    assert read_points(data_folder).shape == (5, 2048, 3)


def test_renders_follow_their_mesh_and_emoji_their_concept(data_folder: Path) -> None:
    pictures = {p.path.name: p for p in read_pictures(data_folder)}
    meshes = {cloud.mesh: cloud.group for cloud in read_clouds(data_folder)}
    assert all(p.group == meshes[p.mesh] for p in pictures.values() if p.kind == "render")
    assert pictures["a.webp"].group == pictures["b.webp"].group == "concept:dog"
    assert pictures["c.webp"].group == pictures["d.webp"].group
    assert pictures["s.jpg"].group == "sender:204"
    assert pictures["t.jpg"].group != pictures["g.jpg"].group
    assert pictures["a.webp"].words == ("dog face", "pet", "animal")


def test_a_photos_label_says_what_it_shows() -> None:
    grocery = "GroceryStoreDataset"
    assert photo_words("Granny-Smith (Apple, Fruit)", grocery) == ("granny smith", "apple", "fruit")
    assert photo_words("Arla-Standard-Milk (Milk, Packages)", grocery) == ("milk", "carton")
    assert photo_words("Hat (kids)", "clothing-dataset") == ("hat", "kids")
    assert photo_words("dog (dog3)", "dreambooth") == ("dog",)


def test_clips_are_grouped_by_recording_and_named_in_words(data_folder: Path) -> None:
    clips = read_clips(data_folder)
    assert clips[0].name == "door wood knock" and clips[0].group == "rec:0" == clips[1].group
    assert (clips[-1].kind, clips[-1].name, clips[-1].concept) == ("sounds", "dog bark", "dog")

from dataclasses import dataclass
from pathlib import Path

from training.compact.sources import photo_words, read_clips, read_clouds, read_pictures, read_points
from training.compact.splits import held_out_groups, held_out_recordings, position, split


@dataclass(frozen=True)
class Item:
    group: str
    name: str


def test_the_split_hangs_on_the_groups_name_alone() -> None:
    groups = [f"g{k}" for k in range(4000)]
    held = held_out_groups(groups)
    assert held == held_out_groups(reversed(groups))
    assert held_out_groups(groups[:50]) == held & set(groups[:50])
    assert 0.12 < len(held) / len(groups) < 0.18
    assert position("concept:dog") == position("concept:dog") != position("concept:cat")


def test_no_recording_is_on_both_sides_and_every_label_validates() -> None:
    clips = [Item(f"{label}{k // 3}", label) for label in ("dog", "rain", "bell") for k in range(30)]
    clips += [Item("shared", "dog"), Item("shared", "rain"), Item("lone", "airplane")]
    held = held_out_recordings(clips)
    train, validation = split(clips, held)
    assert not {c.group for c in train} & {c.group for c in validation}
    assert {c.name for c in validation} == {"dog", "rain", "bell"}
    assert len(train) + len(validation) == len(clips)
    assert any(c.group == "lone" for c in train)


def test_copies_of_a_shape_and_an_artists_name_stay_together(data: Path) -> None:
    group = {cloud.mesh: cloud.group for cloud in read_clouds(data)}
    assert group["p.dog"] == group["p.dog-red"]
    assert group["p.chair1"] == group["p.chair2"] != group["q.chair"]
    assert group["p.dog"] != group["p.chair1"]
    assert read_points(data).shape == (5, 2048, 3)


def test_renders_follow_their_mesh_and_emoji_their_concept(data: Path) -> None:
    pictures = {p.path.name: p for p in read_pictures(data)}
    meshes = {cloud.mesh: cloud.group for cloud in read_clouds(data)}
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


def test_clips_are_grouped_by_recording_and_named_in_words(data: Path) -> None:
    clips = read_clips(data)
    assert clips[0].name == "door wood knock" and clips[0].group == "rec:0" == clips[1].group
    assert (clips[-1].kind, clips[-1].name, clips[-1].concept) == ("sounds", "dog bark", "dog")

import hashlib

import numpy as np
import pytest
from PIL.Image import Image

from connectors.media import decode, sniff
from connectors.modality import MODALITIES
from service.gallery.items import FOLDER, gallery_items

ITEMS = gallery_items()


@pytest.mark.parametrize("modality", MODALITIES)
def test_there_are_a_dozen_to_two_dozen_items_of_each_modality(modality):
    assert 12 <= sum(item.modality == modality for item in ITEMS) <= 24


def test_the_gallery_is_small():
    assert sum(len(item.data) for item in ITEMS) < 3 * 2**20


def test_every_file_in_the_folder_is_listed_and_every_listed_file_is_as_it_was_made():
    on_disk = {path.name for path in (FOLDER / "media").rglob("*.*")}
    assert on_disk == {item.filename for item in ITEMS if item.filename}
    assert all(hashlib.sha256(item.data).hexdigest() == item.sha256 for item in ITEMS)


def test_ids_are_unique_and_media_are_too():
    assert len({item.id for item in ITEMS}) == len({item.sha256 for item in ITEMS}) == len(ITEMS)


@pytest.mark.parametrize("item", [item for item in ITEMS if item.filename], ids=lambda item: item.id)
def test_a_file_is_recognised_and_decodes(item):
    assert sniff(item.data, item.filename).modality == item.modality
    media = decode(item.modality, item.data, name=item.filename)
    if isinstance(media, Image):
        assert media.size == (256, 256)
    elif media.ndim == 1:
        assert 1.5 < len(media) / 48_000 < 7 and 0.2 < np.abs(media).max() <= 1.01
    else:
        assert len(media) >= 1000 and np.isfinite(media).all()


def test_most_things_can_be_found_in_several_modalities():
    kinds = {}
    for item in ITEMS:
        kinds.setdefault(item.name, set()).add(item.modality)
    assert sum(len(modalities) >= 3 for modalities in kinds.values()) >= 12

"""The tables of formats in docs/media.md, made from the code: `python tests/media_page.py` writes them."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from connectors.media.formats import FORMATS
from connectors.media.image_kinds import UNREAD_NAMES
from connectors.media.unread_others import UNREAD_OTHERS
from connectors.media.unread_shapes import UNREAD_SHAPES
from connectors.media.unread_sounds import UNREAD_SOUND_NAMES
from connectors.modality import MODALITIES

PAGE = Path(__file__).parents[1] / "docs/media.md"
BEGIN = "<!-- From the code: python tests/media_page.py -->\n"
END = "<!-- To here -->\n"

UNREAD: tuple[tuple[str, str, Mapping[str, str]], ...] = (
    (
        "pictures",
        "Pillow has no reader, or one that is slow or starts other programs; a drawing has no pixels",
        UNREAD_NAMES,
    ),
    (
        "sounds, videos",
        "notes and lists are no sound; of the others libsndfile has no reader, and FFmpeg's are of rare use",
        UNREAD_SOUND_NAMES,
    ),
    (
        "shapes, scans",
        "no reader is kept by others, safe on hostile bytes and free to ship",
        UNREAD_SHAPES,
    ),
    (
        "other files",
        "they hold no prose, and would be found by their syntax; sent as `text/plain` they are texts",
        UNREAD_OTHERS,
    ),
)
"""What it is about, why it is refused, and what each is called by the end of its name."""


def tables() -> str:
    """Return both tables: what is read, and what is refused by its name."""
    return "\n".join(["", *_read(), "", *_refused(), "", ""])


def _read() -> Iterator[str]:
    yield "| | read | names | of it |"
    yield "|---|---|---|---|"
    for modality in MODALITIES:
        for each in FORMATS:
            if each.modality == modality:
                names = _names(each.suffixes)
                yield f"| {modality.replace('_', ' ')} | {each.title} | {names} | {each.reads} |"


def _refused() -> Iterator[str]:
    yield "| refused with 415 | names | why |"
    yield "|---|---|---|"
    for what, why, names in UNREAD:
        called: dict[str, list[str]] = {}
        for suffix, name in names.items():
            called.setdefault(name, []).append(suffix)
        listed = "; ".join(f"{name}: {_names(suffixes)}" for name, suffixes in called.items())
        yield f"| {what} | {listed} | {why} |"


def _names(suffixes: tuple[str, ...] | list[str]) -> str:
    return " ".join(suffix[1:] for suffix in suffixes)


def page_with(tables: str) -> str:
    """Return the page with these tables in place of its own."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    return before + BEGIN + tables + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(page_with(tables()), encoding="utf-8")

"""Which columns of a table are x, y and z, by the names that its header gives them.

Holds `find`, which answers for a header, or says that it cannot. A name is a letter (`X`), a letter with
words that say that it is a place (`pos_x`, `Points:0`, `//X`) or a unit (`x [m]`, `x_m`), or a word of
surveying (`easting`). What is not known to be a place is none: `vx`, `nx`, `gyro_x`, `time` and `id`.
"""

import re
from collections.abc import Sequence
from itertools import product

PLACE = {
    "pos", "position", "coord", "coords", "coordinate", "coordinates", "point", "points", "pt",
    "loc", "location", "cartesian", "world", "utm",
}  # fmt: skip
UNITS = {
    "m", "mm", "cm", "km", "ft", "feet", "foot", "inch", "inches", "meter", "meters", "metre", "metres",
}  # fmt: skip
LETTERS = {"x": 0, "y": 1, "z": 2}
NUMBERED = {"0": 0, "1": 1, "2": 2}
COMPASS = {"easting": 0, "eastings": 0, "east": 0, "northing": 1, "northings": 1, "north": 1}
HEIGHTS = {"elevation", "elev", "height", "altitude", "alt"}

PLACES = "|".join(sorted(PLACE, key=len, reverse=True))
GLUED = re.compile(rf"(?:({PLACES})([xyz])|([xyz])({PLACES}))")


def find(names: Sequence[str]) -> tuple[int, int, int] | None:
    """Return the columns of x, y and z; None where they are not named, or more than one might be meant.

    The three have to be called alike: `pos_x` goes with `pos_y` and not with `y`. Plain letters go before
    all others, and a height is the z of whatever has none.
    """
    families: dict[str, tuple[list[int], list[int], list[int]]] = {}
    for number, name in enumerate(names):
        if (found := _read(name)) is not None:
            family, axis = found
            families.setdefault(family, ([], [], []))[axis].append(number)
    heights = families.pop("height", ([], [], []))[2]
    plain = families.get("", ([], [], []))[2]
    ways: list[tuple[int, int, int]] = []
    for family in sorted(families):  # "" first
        x, y, z = families[family]
        ways += product(x, y, z or (heights + plain if family == "compass" else heights))
        if ways and not family:
            break
    return ways[0] if len(ways) == 1 else None


def name_places(names: Sequence[str]) -> bool:
    """Return whether two names or more are those of coordinates: prose has at most one by chance."""
    return len({found for name in names if (found := _read(name)) is not None}) > 1


def _read(name: str) -> tuple[str, int] | None:
    """Return what family of names one belongs to, and which axis it means; None if it is no place."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    words = re.findall(r"[^\W_]+", spaced.lower())
    while len(words) > 1 and words[-1] in UNITS:
        words.pop()
    if len(words) == 1 and (glued := GLUED.fullmatch(words[0])):
        words = [part for part in glued.groups() if part]
    around = " ".join(word for word in words if word in PLACE)
    match [word for word in words if word not in PLACE]:
        case [letter] if letter in LETTERS:
            return around, LETTERS[letter]
        case [digit] if digit in NUMBERED and around:
            return f"{around}:", NUMBERED[digit]
        case [word] if word in COMPASS:
            return "compass", COMPASS[word]
        case [word] if word in HEIGHTS:
            return "height", 2
    return None

"""Which columns of a table become x, y and z."""

import csv
import io
import time
from itertools import count

import numpy as np
import pytest
import samples

from connectors.errors import InvalidMedia
from connectors.media import decode
from connectors.media.columns import find


def cloud(data, name="a.csv", **options):
    return decode("point_cloud", data, name=name, **options)


def table(names, separator=",", quote=False, comment=""):
    """Columns named x, y, z in some way among others of numbers that must not be read."""
    rows = samples.points().astype(np.float64)
    others = count()
    columns = [
        rows[:, "xyz".index(name[1])] if name[:1] == "=" else np.arange(100) + 1000 * next(others)
        for name in names
    ]
    titles = [name[2:] if name[:1] == "=" else name for name in names]
    out = io.StringIO()
    writer = csv.writer(
        out, delimiter=separator, quoting=csv.QUOTE_ALL if quote else csv.QUOTE_MINIMAL, lineterminator="\n"
    )
    writer.writerow(titles)
    writer.writerows(np.stack(columns, axis=1).tolist())
    return (comment + out.getvalue()).encode()


GOOD = [
    ["=xx", "=yy", "=zz"],
    ["=xX", "=yY", "=zZ"],
    ["time", "=xx", "=yy", "=zz"],
    ["id", "=zz", "=yy", "=xx", "label"],
    ["", "=xx", "=yy", "=zz"],
    ["t", "=xpos_x", "=ypos_y", "=zpos_z"],
    ["frame", "=xposX", "=yposY", "=zposZ"],
    ["frame", "=xPOSX", "=yPOSY", "=zPOSZ"],
    ["frame", "=xx [m]", "=yy [m]", "=zz [m]"],
    ["frame", "=xX(mm)", "=yY(mm)", "=zZ(mm)"],
    ["frame", "=xx_m", "=yy_m", "=zz_m"],
    ["frame", "=xx/m", "=yy/m", "=zz/m"],
    ["gps", "=xEasting", "=yNorthing", "=zElevation"],
    ["gps", "=yNorthing (m)", "=xEasting (m)", "=zHeight (m)"],
    ["gps", "=xeasting", "=ynorthing", "=zz"],
    ["gps", "=xx", "=yy", "=zaltitude"],
    ["n", "=xcoord_x", "=ycoord_y", "=zcoord_z"],
    ["n", "=xX Coordinate", "=yY Coordinate", "=zZ Coordinate"],
    ["n", "=xxcoord", "=yycoord", "=zzcoord"],
    ["n", "=xposition.x", "=yposition.y", "=zposition.z"],
    ["n", "=xPoints:0", "=yPoints:1", "=zPoints:2"],
    ["nx", "ny", "nz", "=xx", "=yy", "=zz", "vx", "vy", "vz"],
    ["pos_x", "pos_y", "pos_z", "=zz", "=xx", "=yy"],
    ["gyro_x", "gyro_y", "gyro_z", "=xpoint_x", "=ypoint_y", "=zpoint_z"],
    ["easting", "northing", "=xx", "=yy", "=zz", "height"],
]  # fmt: skip


@pytest.mark.parametrize("names", GOOD, ids=", ".join)
@pytest.mark.parametrize("separator", [",", ";", "\t", ", quoted"])
def test_columns_are_found_by_name(names, separator):
    data = table(names, separator[0], quote=separator[1:] != "")
    assert np.allclose(cloud(data), samples.points())


BAD = [
    ["a", "b", "c"],
    ["time", "id", "value"],
    ["time", "x", "y"],
    ["lat", "lon", "alt"],
    ["vx", "vy", "vz"],
    ["gyro_x", "gyro_y", "gyro_z"],
    ["x", "y", "z", "x"],
    ["x", "y", "elevation", "height"],
    ["left_x", "left_y", "left_z", "right_x", "right_y", "right_z"],
    ["pos_x", "pos_y", "pos_z", "point_x", "point_y", "point_z"],
    ["x_m", "y_m", "z_m", "x_ft", "y_ft", "z_ft"],
    ["x", "pos_x", "pos_y"],
    ["x", "pos_y", "pos_z"],
    ["0x", "1x", "2x"],
    ["x1", "y1", "z1"],
]  # fmt: skip


@pytest.mark.parametrize("names", BAD, ids=", ".join)
def test_a_header_that_leaves_it_open_is_named_in_the_refusal(names):
    assert find(names) is None
    with pytest.raises(InvalidMedia, match=rf"which of its columns are x, y and z: {', '.join(names)}"):
        cloud(table(names))


def test_a_header_is_quoted_up_to_a_length():
    with pytest.raises(InvalidMedia) as caught:
        cloud(table([f"name{i}" for i in range(200)]))
    assert caught.value.message.endswith("...")
    assert len(caught.value.message) < 400


@pytest.mark.parametrize(
    "header", ["x y z", "x [m] y [m] z [m]", '"pos x" "pos y" "pos z"', "X\tY\tZ", "x,y,z"]
)
def test_names_may_be_apart_otherwise_than_the_numbers(header):
    data = f"{header}\n".encode() + samples.xyz(samples.points())
    assert np.allclose(cloud(data, "a.xyz"), samples.points())


@pytest.mark.parametrize(
    "above",
    [
        "//X Y Z time\n", "//X,Y,Z,time\n100\n", "# x y z t\n", "# written by a program\n#x;y;z;t\n",
        "# a b c d\n", "# a photo of z\n", "", "# one two three four\n# the x of my dog\n",
    ],
)  # fmt: skip
def test_a_comment_above_the_rows_may_name_them_or_say_anything(above):
    rows = np.hstack([samples.points(), np.arange(100)[:, None]])
    assert np.allclose(cloud(above.encode() + samples.xyz(rows), "a.asc"), samples.points())


def test_a_comment_that_names_the_columns_chooses_them():
    rows = np.hstack([np.arange(100)[:, None], samples.points()[:, ::-1]])
    assert np.allclose(cloud(b"# t z y x\n" + samples.xyz(rows), "a.txt"), samples.points())
    assert np.allclose(cloud(b"//T Z Y X\n" + samples.xyz(rows), "a.asc"), samples.points())
    with pytest.raises(InvalidMedia, match="x, y and z: time, x, y, speed"):
        cloud(b"# time x y speed\n" + samples.xyz(rows), "a.xyz")


def test_rows_with_more_columns_than_names_are_refused():
    # As R writes row names: each row has a number before its first column.
    rows = np.hstack([np.arange(100)[:, None], samples.points()])
    with pytest.raises(InvalidMedia, match="has 4 columns and names 3 of them: x, y, z"):
        cloud(samples.xyz(rows, " ", '"x" "y" "z"\n'))
    trailing = samples.xyz(samples.points(), ",", "x,y,z,\n").replace(b"\n", b",\n")
    assert np.allclose(cloud(trailing), samples.points())


def test_what_cannot_be_read_is_said_in_plain_words():
    rows = samples.xyz(samples.points(), ",")
    with pytest.raises(InvalidMedia, match="row 101 of its numbers has 'dog' where a number should be"):
        cloud(rows + b"1,dog,2\n")
    with pytest.raises(InvalidMedia, match="row 101 of its numbers has 2 columns only"):
        cloud(rows + b"1,2\n")
    with pytest.raises(InvalidMedia, match="has 0 points; at least 32"):
        cloud(b"x,y,z\n")
    with pytest.raises(InvalidMedia, match="has 0 points; at least 32"):
        cloud(b"# nothing\n")


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
def test_lines_may_end_in_any_way(end):
    data = table(["time", "=xx", "=yy", "=zz"]).replace(b"\n", end.encode())
    assert np.allclose(cloud(data), samples.points())


def test_decimal_commas_are_read_between_semicolons():
    data = table(["t", "=xx", "=yy", "=zz"], ";").replace(b".", b",")
    assert np.allclose(cloud(data), samples.points())
    rows = samples.xyz(samples.points(), ";").replace(b".", b",")
    assert np.allclose(cloud(rows), samples.points())


@pytest.mark.parametrize(
    "row", ["(" * 900_000, "x" + " " * 900_000 + "y", '"' * 900_000, "[m]" * 300_000, "xX" * 400_000]
)
def test_endless_headers_are_told_quickly(row):
    start = time.perf_counter()
    for text in (row, "# " + row):
        with pytest.raises(InvalidMedia):
            cloud(f"{text}\n1 2 3\n".encode())
    assert time.perf_counter() - start < 5

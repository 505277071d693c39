import pytest
import samples

from connectors.errors import InvalidMedia, UnsupportedMedia
from connectors.media import MediaType, sniff

MIMES = {
    "a.jpg": "image/jpeg", "a.png": "image/png", "a.webp": "image/webp", "a.gif": "image/gif",
    "a.bmp": "image/bmp", "a.tiff": "image/tiff", "a.avif": "image/avif", "a.heic": "image/heic",
    "a.jp2": "image/jp2", "a.ppm": "image/x-portable-anymap", "text.ppm": "image/x-portable-anymap",
    "big.tiff": "image/tiff", "a.wav": "audio/wav",
    "float.wav": "audio/wav", "a.flac": "audio/flac", "a.ogg": "audio/ogg", "a.opus": "audio/ogg",
    "a.mp3": "audio/mpeg", "tagged.mp3": "audio/mpeg", "a.aiff": "audio/aiff", "a.m4a": "audio/mp4",
    "a.mp4": "video/mp4", "a.webm": "audio/webm", "a.mka": "video/x-matroska", "a.aac": "audio/aac",
    "a.npy": "application/x-npy", "a.npz": "application/x-npz", "a.ply": "model/ply",
    "big-endian.ply": "model/ply", "text.ply": "model/ply", "text.pcd": "model/x-pcd",
    "a.pcd": "model/x-pcd", "compressed.pcd": "model/x-pcd", "a.las": "application/vnd.las",
    "a.laz": "application/vnd.las", "a.off": "model/off", "a.stl": "model/stl",
    "text.stl": "model/stl", "a.glb": "model/gltf-binary", "a.gltf": "model/gltf+json",
    "gltf.zip": "model/gltf+zip", "a.3mf": "model/3mf", "a.dae": "model/vnd.collada+xml",
    "mesh.ply": "model/ply",    "text-mesh.ply": "model/ply", "polygons.ply": "model/ply",
}  # fmt: skip

SIGNED = [(modality, name) for modality, files in samples.FILES.items() for name in files if name in MIMES]


@pytest.mark.parametrize(("modality", "name"), SIGNED)
def test_the_bytes_alone_tell_the_type(modality, name):
    assert sniff(samples.file(modality, name)) == MediaType(modality, MIMES[name])


def test_the_bytes_win_over_a_wrong_name_and_content_type():
    png = samples.file("image", "a.png")
    assert sniff(png, "sound.mp3", "audio/mpeg").mime == "image/png"


@pytest.mark.parametrize(
    ("name", "mime"),
    [("a.xyz", "text/x-xyz"), ("A.PTS", "text/x-xyz"), ("a.csv", "text/x-xyz"), ("a.obj", "model/obj")],
)
def test_the_name_tells_point_clouds_from_text(name, mime):
    rows = samples.xyz(samples.points())
    assert sniff(rows, name, "text/plain") == MediaType("point_cloud", mime)
    assert sniff(rows, "notes.txt") == MediaType("text", "text/plain")
    assert sniff(rows) == MediaType("text", "text/plain")


def test_the_content_type_decides_where_there_is_no_name():
    assert sniff(b"v 0 0 0\n", content_type="model/obj").mime == "model/obj"
    assert sniff(b"1,2,3\n", content_type="text/csv; charset=utf-8").modality == "point_cloud"


@pytest.mark.parametrize(
    "text",
    [
        b"a dog barks",
        "ein Hund bellt, größer".encode(),
        b"\xef\xbb\xbfwith a byte order mark",
        b"BMW builds cars, and other sentences that begin with BM",
        b"OFF we go",
        b"solid ground",
        b"ply the seas",
        ("é" * 5000).encode(),
        ("x" + "é" * 5000).encode(),
    ],
)
def test_sentences_are_text_whatever_word_they_begin_with(text):
    assert sniff(text) == MediaType("text", "text/plain")


@pytest.mark.parametrize("name", ["photo.png", "song.ogg", "clip.mp4", "cloud.ply", "scan.LAZ"])
def test_text_under_a_media_name_is_an_error_that_says_so(name):
    with pytest.raises(InvalidMedia, match=rf"{name} is named \.{name.split('.')[1].lower()} but holds text"):
        sniff(b"this is not media", name)


def test_text_under_a_media_content_type_is_an_error():
    with pytest.raises(InvalidMedia, match="sent as image/png but holds text"):
        sniff(b"this is not media", content_type="image/png")


def test_bytes_under_a_text_name_are_an_error():
    with pytest.raises(InvalidMedia, match=r"notes\.txt is taken for text/plain"):
        sniff(bytes(range(256)), "notes.txt")


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (bytes(range(256)), "a.bin"),
        (bytes(range(256)), None),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "a.svg"),
        (b"PK\x03\x04" + bytes(26) + b"word/document.xml", "a.docx"),
    ],
)
def test_unknown_types_are_unsupported_and_the_message_lists_what_is(data, name):
    with pytest.raises(UnsupportedMedia, match=r"Supported: images .*JPEG.*wav.*npz.*stl.*text"):
        sniff(data, name)


@pytest.mark.parametrize("name", ["a.txt", "NOTES.TEXT", "a.md", "a.markdown", "a.rst", "a.adoc"])
def test_a_file_is_text_if_it_is_named_so(name):
    assert sniff(b"a dog barks", name, "application/octet-stream") == MediaType("text", "text/plain")


OTHERS = {
    "scene.mtl": (b"newmtl red\nKd 1 0 0\n", "a list of an obj's materials"),
    "a.fbx": (b"; FBX 7.3.0 project file\n", "an Autodesk FBX scene"),
    "a.usda": (b"#usda 1.0\n", "a Universal Scene Description (USD)"),
    "a.amf": (b"<?xml version='1.0'?><amf/>", "an Additive Manufacturing File (AMF)"),
    "a.x3d": (b"<X3D/>", "an X3D scene"),
    "a.vtk": (b"# vtk DataFile Version 3.0\n", "a VTK data set"),
    "a.step": (b"ISO-10303-21;\n", "a STEP model"),
    "a.dxf": (b"0\nSECTION\n", "an AutoCAD drawing"),
    "a.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n", "an EPS drawing"),
    "a.xpm": (b"/* XPM */\n", "an XPM picture"),
    "a.json": (b"{}", "JSON data"),
    "desktop.ini": (b"[.ShellClassInfo]\n", "a settings file"),
    "a.srt": (b"1\n00:00:01,000 --> 00:00:02,000\nhello\n", "a file of subtitles"),
    "a.svg": (b"<svg/>", "an SVG drawing"),
    "a.html": (b"<p>hello</p>", "an HTML page"),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("content_type", [None, "application/octet-stream", "image/x-other", "model/other"])
def test_a_file_named_as_another_format_is_not_text(name, content_type):
    data, called = OTHERS[name]
    with pytest.raises(UnsupportedMedia) as error:
        sniff(data, name, content_type)
    said = f"{name} is {called}, which is not supported. Supported:"
    assert error.value.message.startswith(said)


@pytest.mark.parametrize("name", [*OTHERS, "a.unheard"])
@pytest.mark.parametrize("content_type", ["text/plain", "text/markdown; charset=utf-8"])
def test_what_is_sent_as_text_is_text(name, content_type):
    assert sniff(b"a dog barks", name, content_type) == MediaType("text", "text/plain")
    assert sniff(b"a dog barks", name, modality="text") == MediaType("text", "text/plain")


def test_a_name_never_heard_of_is_no_text():
    with pytest.raises(UnsupportedMedia, match=r"a\.unheard is named \.unheard, which is not supported"):
        sniff(b"a dog barks", "a.unheard")


@pytest.mark.parametrize("name", [None, "README", "Makefile", ".hidden", "Mr. Smith", "report 1.2", "a."])
@pytest.mark.parametrize("content_type", [None, "application/octet-stream"])
def test_what_neither_name_nor_content_type_tells_is_text(name, content_type):
    assert sniff(b"a dog barks", name, content_type) == MediaType("text", "text/plain")


def test_a_content_type_of_another_kind_is_no_text():
    with pytest.raises(UnsupportedMedia, match=r"README is sent as application/json, which is not supported"):
        sniff(b"{}", "README", "application/json")


def test_a_modality_that_is_asked_for_makes_up_for_a_name_that_says_nothing():
    assert sniff(b"1 2 3\n", "scan.dat", modality="point_cloud").modality == "text"  # rows of numbers, or obj
    with pytest.raises(UnsupportedMedia, match="a VTK data set"):
        sniff(b"# vtk DataFile Version 3.0\n", "scan.vtk", modality="point_cloud")


def test_nothing_is_an_error():
    with pytest.raises(InvalidMedia, match=r"nothing\.png is empty"):
        sniff(b"", "nothing.png")


def test_an_id3_tag_hides_no_other_format():
    assert sniff(samples.id3(samples.file("audio", "a.aac"))).mime == "audio/aac"
    assert sniff(samples.id3(samples.file("audio", "a.flac"))).mime == "audio/flac"

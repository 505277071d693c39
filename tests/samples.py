"""Small real files of every format, where possible written by other libraries than those that read them."""

import base64
import io
import json
import struct
import zipfile
from collections.abc import Callable
from functools import cache

import av
import laspy
import numpy as np
import pillow_heif
import plyfile
import soundfile
import trimesh
from PIL import Image

RATE = 48_000

pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)  # writes a.heic


def picture(width: int = 64, height: int = 48) -> Image.Image:
    """Red left half, a green gradient downwards."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2, 0] = 255
    pixels[:, :, 1] = np.linspace(0, 255, height, dtype=np.uint8)[:, None]
    return Image.fromarray(pixels)


def image_file(image: Image.Image, form: str, **options) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def tone(seconds: float = 1.0, rate: int = RATE, hertz: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def sound_file(samples: np.ndarray, rate: int = RATE, form: str = "WAV", subtype: str | None = None) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, samples, rate, format=form, subtype=subtype)
    return out.getvalue()


def container_file(samples: np.ndarray, form: str, codec: str, rate: int = RATE) -> bytes:
    """Mono samples as both channels of one stereo track."""
    out = io.BytesIO()
    with av.open(out, "w", format=form) as container:
        track = container.add_stream(codec, rate=rate)
        track.layout = "stereo"
        queue = av.AudioFifo()
        frame = av.AudioFrame.from_ndarray(np.stack([samples, samples]), format="fltp", layout="stereo")
        frame.sample_rate = rate
        queue.write(frame)
        while (frame := queue.read(track.codec_context.frame_size or 1024, partial=True)) is not None:
            container.mux(track.encode(frame))
        container.mux(track.encode(None))
    return out.getvalue()


def silent_video() -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        track = container.add_stream("mpeg4", rate=10)
        track.width, track.height, track.pix_fmt = 64, 48, "yuv420p"
        for _ in range(5):
            container.mux(track.encode(av.VideoFrame.from_image(picture())))
        container.mux(track.encode(None))
    return out.getvalue()


def id3(data: bytes) -> bytes:
    """The sound with an ID3v2 tag of one title before it."""
    title = b"TIT2" + struct.pack(">I", 6) + b"\0\0" + b"\0Title"
    return b"ID3\x04\0\0" + bytes([0, 0, 0, len(title)]) + title + data


def points(count: int = 100, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 3)).astype(np.float32)


def npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)
    return out.getvalue()


def xyz(cloud: np.ndarray, separator: str = " ", header: str = "") -> bytes:
    return (header + "".join(separator.join(f"{v:.9g}" for v in row) + "\n" for row in cloud)).encode()


def ply(
    cloud: np.ndarray, faces: list[list[int]] | None = None, text: bool = False, order: str = "<"
) -> bytes:
    vertex = np.zeros(len(cloud), [("x", "f4"), ("y", "f4"), ("z", "f4"), ("red", "u1")])
    for i, axis in enumerate("xyz"):
        vertex[axis] = cloud[:, i]
    elements = [plyfile.PlyElement.describe(vertex, "vertex", comments=["a comment"])]
    if faces is not None:
        face = np.empty(len(faces), [("flags", "u1"), ("vertex_indices", "O")])
        face["flags"] = 1
        face["vertex_indices"] = [np.array(f, np.int32) for f in faces]
        elements.append(plyfile.PlyElement.describe(face, "face"))
    out = io.BytesIO()
    plyfile.PlyData(elements, text=text, byte_order=order).write(out)
    return out.getvalue()


def lzf(data: bytes) -> bytes:
    """LZF with literal runs, and a back reference for each run of one byte."""
    out = bytearray()
    position = 0
    while position < len(data):
        run = 1
        while run < 200 and data[position : position + 1] * (run + 1) == data[position : position + run + 1]:
            run += 1
        if run > 10:
            out += bytes([0, data[position], 7 << 5, run - 1 - 9, 0])
            position += run
        else:
            out += b"\0" + data[position : position + 1]
            position += 1
    return bytes(out)


def pcd(cloud: np.ndarray, form: str = "binary", width: int | None = None) -> bytes:
    """x y z and, between them, a field of two numbers that readers have to step over."""
    rows = np.zeros(len(cloud), [("x", "<f4"), ("pair", "<u2", 2), ("y", "<f4"), ("z", "<f4")])
    for i, axis in enumerate("xyz"):
        rows[axis] = cloud[:, i]
    width = width or len(cloud)
    header = (
        "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\nFIELDS x pair y z\nSIZE 4 2 4 4\n"
        f"TYPE F U F F\nCOUNT 1 2 1 1\nWIDTH {width}\nHEIGHT {len(cloud) // width}\nVIEWPOINT 0 0 0 1 0 0 0\n"
        f"POINTS {len(cloud)}\nDATA {form}\n"
    ).encode()
    if form == "ascii":
        return header + "".join(f"{x:.9g} 0 0 {y:.9g} {z:.9g}\n" for x, y, z in cloud).encode()
    if form == "binary":
        return header + rows.tobytes()
    columns = b"".join(np.ascontiguousarray(rows[name]).tobytes() for name in rows.dtype.names)
    packed = lzf(columns)
    return header + struct.pack("<II", len(packed), len(columns)) + packed


def las(cloud: np.ndarray, compressed: bool = False) -> bytes:
    header = laspy.LasHeader(point_format=3, version="1.2")
    header.scales = np.full(3, 0.0001)
    header.offsets = np.floor(cloud.min(axis=0))
    scan = laspy.LasData(header)
    scan.x, scan.y, scan.z = cloud[:, 0], cloud[:, 1], cloud[:, 2]
    out = io.BytesIO()
    scan.write(out, do_compress=compressed)
    return out.getvalue()


def box() -> trimesh.Trimesh:
    """A box of 2 x 1 x 1 around the origin."""
    return trimesh.creation.box((2.0, 1.0, 1.0))


def mesh_file(mesh: trimesh.Trimesh | trimesh.Scene, form: str) -> bytes:
    data = mesh.export(file_type=form)
    return data.encode() if isinstance(data, str) else data


def gltf(mesh: trimesh.Trimesh, uri: str | None = None) -> tuple[bytes, bytes]:
    """The JSON of a scene of one mesh and its buffer, which is in the JSON unless it has a name."""
    body = np.asarray(mesh.vertices, "<f4").tobytes() + np.asarray(mesh.faces, "<u4").tobytes()
    document = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": len(mesh.vertices), "type": "VEC3"},
            {"bufferView": 1, "componentType": 5125, "count": 3 * len(mesh.faces), "type": "SCALAR"},
        ],
        "bufferViews": [
            {"buffer": 0, "byteLength": 12 * len(mesh.vertices)},
            {"buffer": 0, "byteOffset": 12 * len(mesh.vertices), "byteLength": 12 * len(mesh.faces)},
        ],
        "buffers": [{"byteLength": len(body), "uri": uri or EMBEDDED + base64.b64encode(body).decode()}],
    }
    return json.dumps(document).encode(), body


EMBEDDED = "data:application/octet-stream;base64,"


def zipped(files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def gltf_zip(mesh: trimesh.Trimesh) -> bytes:
    scene, body = gltf(mesh, "parts/a%20b.bin")
    return zipped({"scene/a.gltf": scene, "scene/parts/a b.bin": body, "__MACOSX/scene/._a.gltf": b"\0"})


THREEMF = "http://schemas.microsoft.com/3dmanufacturing/core/2015/02"


def threemf(
    mesh: trimesh.Trimesh, build: str = '<item objectid="1"/>', more: str = "", head: str = ""
) -> bytes:
    """A mesh as object 1, with `more` objects, and what is built of them."""
    vertices = "".join(f'<vertex x="{x}" y="{y}" z="{z}"/>' for x, y, z in mesh.vertices)
    triangles = "".join(f'<triangle v1="{a}" v2="{b}" v3="{c}"/>' for a, b, c in mesh.faces)
    model = (
        f'<?xml version="1.0" encoding="UTF-8"?><model unit="millimeter" xmlns="{THREEMF}" {head}><resources>'
        f'<object id="1" type="model"><mesh><vertices>{vertices}</vertices><triangles>{triangles}</triangles>'
        f"</mesh></object>{more}</resources><build>{build}</build></model>"
    )
    return zipped({"[Content_Types].xml": b"<Types/>", "3D/3dmodel.model": model.encode()})


COLLADA = "http://www.collada.org/2005/11/COLLADASchema"


def dae(
    vertices: np.ndarray,
    faces: str,
    nodes: str = '<node><instance_geometry url="#g"/></node>',
    more: str = "",
) -> bytes:
    """A geometry `g` whose `faces` refer to `#v` with an offset of 0, the nodes of a scene, and `more`."""
    numbers = " ".join(f"{value:.9g}" for value in np.ravel(vertices))
    return (
        f'<?xml version="1.0" encoding="utf-8"?>\n<COLLADA xmlns="{COLLADA}" version="1.4.1">'
        "<library_geometries>"
        f'<geometry id="g"><mesh><source id="p"><float_array id="pa" count="{np.size(vertices)}">{numbers}'
        f'</float_array><technique_common><accessor source="#pa" count="{len(vertices)}" stride="3">'
        '<param name="X" type="float"/><param name="Y" type="float"/><param name="Z" type="float"/>'
        "</accessor>"
        '</technique_common></source><vertices id="v"><input semantic="POSITION" source="#p"/></vertices>'
        f"{faces}</mesh></geometry></library_geometries>{more}<library_visual_scenes>"
        f'<visual_scene id="s">{nodes}</visual_scene></library_visual_scenes>'
        '<scene><instance_visual_scene url="#s"/></scene></COLLADA>'
    ).encode()


def dae_triangles(faces: np.ndarray) -> str:
    """Faces with a normal's index after every corner's."""
    corners = " ".join(f"{corner} 0" for corner in np.ravel(faces))
    return (
        f'<triangles count="{len(faces)}"><input semantic="VERTEX" source="#v" offset="0"/>'
        f'<input semantic="NORMAL" source="#n" offset="1"/><p>{corners}</p></triangles>'
    )


IMAGES: dict[str, Callable[[], bytes]] = {
    "a.jpg": lambda: image_file(picture(), "JPEG", quality=95),
    "a.png": lambda: image_file(picture(), "PNG"),
    "a.webp": lambda: image_file(picture(), "WEBP", lossless=True),
    "a.gif": lambda: image_file(picture(), "GIF"),
    "a.bmp": lambda: image_file(picture(), "BMP"),
    "a.tiff": lambda: image_file(picture(), "TIFF", compression="tiff_lzw"),
    "a.avif": lambda: image_file(picture(), "AVIF", quality=95),
    "a.heic": lambda: image_file(picture(), "HEIF", quality=95),
    "a.jp2": lambda: image_file(picture(), "JPEG2000"),
    "a.ppm": lambda: image_file(picture(), "PPM"),
    "text.ppm": lambda: b"P3\n64 48\n255\n" + b" ".join(b"%d" % v for v in picture().tobytes()),
    "big.tiff": lambda: image_file(picture(), "TIFF", big_tiff=True),
}

SOUNDS: dict[str, Callable[[], bytes]] = {
    "a.wav": lambda: sound_file(tone()),
    "float.wav": lambda: sound_file(tone(), subtype="FLOAT"),
    "a.flac": lambda: sound_file(tone(), form="FLAC"),
    "a.ogg": lambda: sound_file(tone(), form="OGG", subtype="VORBIS"),
    "a.opus": lambda: sound_file(tone(), form="OGG", subtype="OPUS"),
    "a.mp3": lambda: sound_file(tone(), form="MP3"),
    "tagged.mp3": lambda: id3(sound_file(tone(), form="MP3")),
    "a.aiff": lambda: sound_file(tone(), form="AIFF"),
    "a.m4a": lambda: container_file(tone(), "ipod", "aac"),
    "a.mp4": lambda: container_file(tone(), "mp4", "aac"),
    "a.webm": lambda: container_file(tone(), "webm", "libopus"),
    "a.mka": lambda: container_file(tone(), "matroska", "aac"),
    "a.aac": lambda: container_file(tone(), "adts", "aac"),
}

CLOUDS: dict[str, Callable[[], bytes]] = {
    "a.npy": lambda: npy(points()),
    "a.npz": lambda: npz(labels=np.arange(100), points=points()),
    "a.xyz": lambda: xyz(points()),
    "a.csv": lambda: xyz(points(), ",", header="x,y,z\n"),
    "a.pts": lambda: xyz(points(), header="100\n"),
    "a.ply": lambda: ply(points()),
    "big-endian.ply": lambda: ply(points(), order=">"),
    "text.ply": lambda: ply(points(), text=True),
    "text.pcd": lambda: pcd(points(), "ascii"),
    "a.pcd": lambda: pcd(points()),
    "compressed.pcd": lambda: pcd(points(), "binary_compressed"),
    "a.las": lambda: las(points()),
    "a.laz": lambda: las(points(), compressed=True),
}

MESHES: dict[str, Callable[[], bytes]] = {
    "a.off": lambda: mesh_file(box(), "off"),
    "a.obj": lambda: mesh_file(box(), "obj"),
    "a.stl": lambda: mesh_file(box(), "stl"),
    "text.stl": lambda: mesh_file(box(), "stl_ascii"),
    "a.glb": lambda: mesh_file(box(), "glb"),
    "a.gltf": lambda: gltf(box())[0],
    "gltf.zip": lambda: gltf_zip(box()),
    "a.3mf": lambda: threemf(box()),
    "a.dae": lambda: dae(box().vertices, dae_triangles(box().faces)),
    "mesh.ply": lambda: mesh_file(box(), "ply"),
    "text-mesh.ply": lambda: ply(box().vertices, box().faces.tolist(), text=True),
    "polygons.ply": lambda: ply(points(40), [[0, 1, 2], [3, 4, 5, 6], [7, 8, 9, 10, 11]]),
}

FILES = {
    "image": IMAGES,
    "audio": SOUNDS,
    "point_cloud": {**CLOUDS, **MESHES},
}


@cache
def file(modality: str, name: str) -> bytes:
    """One of the files, written once a test run."""
    return FILES[modality][name]()

"""What kind of media some bytes are.

Holds `MediaType`, and `sniff`, which looks at the bytes first, then at the file name, then at the
content type: the bytes cannot lie about their own format, and the other two are often missing.
Formats without a signature (obj, xyz, csv, plain text) are told apart by name.
"""

import re
import struct
from dataclasses import dataclass
from pathlib import PurePosixPath

from connectors.errors import UnsupportedMedia
from connectors.media.archive import archive_kind
from connectors.media.image_kinds import NETPBM, boxed_picture, unread_picture
from connectors.media.source import Source
from connectors.media.tags import sound_start
from connectors.media.unread_shapes import unread_shape
from connectors.media.unread_sounds import UNREAD_SOUND_EXTENSIONS, unread_sound
from connectors.modality import Modality


@dataclass(frozen=True, slots=True)
class MediaType:
    """A modality, and the MIME type of the format that carries it."""

    modality: Modality
    mime: str


SUPPORTED = (
    "images (JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, HEIC, JPEG 2000, PNM), sound (wav, flac, ogg, opus, "
    "mp3, aiff, m4a, aac, mp4, mov, webm, wma, amr, au, caf, w64, ac3, wv, tta, dsf), point clouds (npy, "
    "npz, ply, pcd, xyz, csv, las, laz), meshes (off, obj, stl, glb, gltf, 3mf, dae) and UTF-8 text"
)

TEXT = MediaType("text", "text/plain")
OBJ = MediaType("point_cloud", "model/obj")
STL = MediaType("point_cloud", "model/stl")
XYZ = MediaType("point_cloud", "text/x-xyz")
GLTF = MediaType("point_cloud", "model/gltf+json")
DAE = MediaType("point_cloud", "model/vnd.collada+xml")

SIGNATURES: tuple[tuple[bytes, MediaType], ...] = (
    (rb"\x89PNG\r\n\x1a\n", MediaType("image", "image/png")),
    (rb"\xff\xd8\xff", MediaType("image", "image/jpeg")),
    (rb"GIF8[79]a", MediaType("image", "image/gif")),
    (rb"RIFF.{4}WEBP", MediaType("image", "image/webp")),
    (rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", MediaType("image", "image/bmp")),
    (rb"II[*+]\0|MM\0[*+]", MediaType("image", "image/tiff")),  # +: BigTIFF
    (rb"\0{3}\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51", MediaType("image", "image/jp2")),
    (NETPBM, MediaType("image", "image/x-portable-anymap")),
    (rb".{4}ftypcrx ", MediaType("image", "image/x-canon-cr3")),
    (rb"(RIFF|RF64|BW64).{4}WAVE", MediaType("audio", "audio/wav")),
    (rb"FORM.{4}AIF[FC]", MediaType("audio", "audio/aiff")),
    (rb"fLaC", MediaType("audio", "audio/flac")),
    (rb"OggS", MediaType("audio", "audio/ogg")),
    (rb"\.snd\0|dns\..\0", MediaType("audio", "audio/basic")),
    (rb"caff\0", MediaType("audio", "audio/x-caf")),
    (rb"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb", MediaType("audio", "audio/x-w64")),
    (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", MediaType("audio", "audio/x-ms-wma")),
    (rb"#!AMR(-WB)?\n", MediaType("audio", "audio/amr")),
    (rb"\x0b\x77.{3}[\x20-\x87]", MediaType("audio", "audio/ac3")),
    (rb"wvpk.{4}[\x02-\x10]\x04", MediaType("audio", "audio/x-wavpack")),
    (rb"TTA[12][\x01-\x03]\0", MediaType("audio", "audio/x-tta")),
    (rb"DSD \x1c\0\0\0", MediaType("audio", "audio/x-dsf")),
    (rb"\xff[\xf0\xf1\xf8\xf9]", MediaType("audio", "audio/aac")),  # ADTS: layer bits 00
    (rb"\xff[\xe2-\xe5\xf2-\xf5\xfa-\xfd]", MediaType("audio", "audio/mpeg")),  # layers III, II
    (rb".{4}ftypM4[AB]", MediaType("audio", "audio/mp4")),
    (rb".{4}ftyp(?!hei|hev|mif1|msf1)", MediaType("audio", "video/mp4")),
    # QuickTime before `ftyp` was: a box of a size that files have (text begins with larger bytes).
    (rb"[\0-\x07].{3}(moov|mdat|wide|free|skip|pnot)", MediaType("audio", "video/mp4")),
    (rb"\x1aE\xdf\xa3.{0,60}webm", MediaType("audio", "audio/webm")),
    (rb"\x1aE\xdf\xa3.{0,60}matroska", MediaType("audio", "video/x-matroska")),
    (rb"\x93NUMPY", MediaType("point_cloud", "application/x-npy")),
    (rb"PK\x03\x04.{26}[^\0]{0,200}?\.npy", MediaType("point_cloud", "application/x-npz")),
    (rb"ply[ \t]*[\r\n]", MediaType("point_cloud", "model/ply")),
    (rb"(\s*#[^\r\n]*[\r\n])*\s*VERSION\s+0?\.\d+\s|# \.PCD", MediaType("point_cloud", "model/x-pcd")),
    (rb"LASF", MediaType("point_cloud", "application/vnd.las")),
    (rb"glTF[\x01\x02]\0\0\0", MediaType("point_cloud", "model/gltf-binary")),
    (rb"(?i:\s*solid\b[^\n]*\s+(facet\s+normal|endsolid)\b)", STL),
    (
        rb"(\s*#[^\n]*\n)*\s*(ST)?C?N?OFF\s*(#[^\n]*\n\s*)*\d+\s+\d+\s+\d+",
        MediaType("point_cloud", "model/off"),
    ),
    (rb"(\xef\xbb\xbf)?\s*(<\?xml.{0,200}?\?>\s*)?(<!--((?!-->).)*-->\s*)*<COLLADA\b", DAE),
    (rb"\s*\{\s*\"asset\"\s*:\s*\{[^{}]*\"version\"\s*:", GLTF),
)
PATTERNS = tuple((re.compile(pattern, re.DOTALL), kind) for pattern, kind in SIGNATURES)
HEAD = 4096
"""Bytes a signature may lie in."""

CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
"""What no text has, whatever its encoding. Names in obj, xyz and csv may be in any: they are passed over."""

EXTENSIONS = {
    **dict.fromkeys((".txt", ".md", ".text"), TEXT),
    **dict.fromkeys((".xyz", ".pts", ".asc", ".csv"), XYZ),
    ".obj": OBJ,
    ".stl": STL,
    ".gltf": GLTF,
    ".dae": DAE,
}
"""Formats a name decides, because their bytes have no signature."""

CONTENT_TYPES = {
    "model/obj": OBJ,
    "model/stl": STL,
    GLTF.mime: GLTF,
    DAE.mime: DAE,
    "text/x-xyz": XYZ,
    "chemical/x-xyz": XYZ,
    "text/csv": XYZ,
}

SIGNED_EXTENSIONS = {
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif",
    ".jfif", ".btf", ".heic", ".heif", ".hif", ".jp2", ".j2k", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm",
    ".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".m4a", ".m4b",
    ".aac", ".mp4", ".m4v", ".mov", ".webm", ".mka", ".mkv",
    ".aifc", ".rf64", ".bw64", ".w64", ".caf", ".au", ".snd", ".wma", ".asf", ".amr", ".awb", ".3gp",
    ".3g2", ".ac3", ".eac3", ".wv", ".tta", ".dsf", ".spx", ".ogv", ".mp2", ".qt",
    ".npy", ".npz", ".ply", ".pcd", ".las", ".laz", ".off", ".glb", ".3mf",
}  # fmt: skip
"""Names that promise a signature: without one in the bytes, the file is not what it says."""

TEXT_EXTENSIONS = {suffix for suffix, kind in EXTENSIONS.items() if kind == TEXT}

UNSERVED_EXTENSIONS = {".pdf", ".zip"}


def sniff(data: bytes, name: str | None = None, content_type: str | None = None) -> MediaType:
    """Tell the media type of `data`; `name` is a file name, `content_type` a MIME type.

    Raises `InvalidMedia` if `data` is empty or is not what its name or content type claims, and
    `UnsupportedMedia`, listing what is supported, if no decoder here reads it.
    """
    source = Source(data, name)
    if not data:
        raise source.invalid("is empty")
    found = _signed(data)
    if found is not None:
        return found
    if (sound := unread_sound(data)) is not None:
        raise _unsupported(source, f"is {sound}")
    suffix = PurePosixPath((name or "").lower()).suffix
    mime = (content_type or "").split(";")[0].strip().lower()
    picture = unread_picture(data, suffix, mime, suffix in EXTENSIONS or mime == "text/plain")
    if picture is not None:
        raise _unsupported(source, f"is {picture}")
    if suffix not in TEXT_EXTENSIONS and (shape := unread_shape(data[:HEAD], suffix)) is not None:
        raise _unsupported(source, f"is {shape}")
    if suffix in UNSERVED_EXTENSIONS | UNREAD_SOUND_EXTENSIONS:
        raise _unsupported(source, f"is a {suffix} file")
    if suffix in SIGNED_EXTENSIONS:
        raise source.invalid(f"is named {suffix} but holds {_looks(data)}")
    claimed = EXTENSIONS.get(suffix) or CONTENT_TYPES.get(mime)
    if claimed is None and mime.split("/")[0] in ("image", "audio", "video", "model"):
        raise source.invalid(f"is sent as {mime} but holds {_looks(data)}")
    if claimed == STL:  # binary or text: its reader tells
        return STL
    if not is_text(data) and not (claimed in (OBJ, XYZ) and not CONTROL.search(data, 0, HEAD)):
        if claimed is not None:
            raise source.invalid(f"is taken for {claimed.mime} but holds {_looks(data)}")
        if _is_binary_stl(data):
            return STL
        raise _unsupported(source, "is of an unknown type")
    return claimed or TEXT


def expect(source: Source, modality: Modality) -> str:
    """The MIME type of an item that has to be of `modality`.

    Raises what `sniff` raises, and `InvalidMedia` if the item is of another modality.
    """
    found = sniff(source.data, source.name)
    if found.modality != modality:
        article = "an" if modality in ("image", "audio") else "a"
        wanted = {"audio": "audio file", "point_cloud": "point cloud"}.get(modality, modality)
        raise source.invalid(f"is {found.mime}, not {article} {wanted}")
    return found.mime


def is_text(data: bytes) -> bool:
    """Whether the first bytes are UTF-8 without control characters."""
    head = data[:HEAD]
    if CONTROL.search(head):
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        # A character may be cut in two where the head ends.
        return len(data) > HEAD and error.start >= HEAD - 3
    return True


def _signed(data: bytes) -> MediaType | None:
    """The type whose signature the bytes carry, looking past an ID3 tag."""
    picture = boxed_picture(data)
    if picture is not None:
        return MediaType("image", picture)
    found = _match(data[:HEAD])
    if found is None and data[:4] == b"PK\x03\x04" and (kind := archive_kind(data)) is not None:
        return MediaType("point_cloud", kind)
    if found is not None or data[:3] != b"ID3" or len(data) <= 10:
        return found
    start = sound_start(data)
    return _match(data[start : start + HEAD]) or MediaType("audio", "audio/mpeg")


def _match(head: bytes) -> MediaType | None:
    return next((kind for pattern, kind in PATTERNS if pattern.match(head)), None)


def _is_binary_stl(data: bytes) -> bool:
    """Whether the triangle count at byte 80 gives the length of the file, but for a few bytes."""
    return len(data) > 84 and 0 <= len(data) - 84 - 50 * struct.unpack_from("<I", data, 80)[0] < 50


def _looks(data: bytes) -> str:
    return "text" if is_text(data) else "something else"


def _unsupported(source: Source, what: str) -> UnsupportedMedia:
    return UnsupportedMedia(f"{source.label} {what}, which is not supported. Supported: {SUPPORTED}")

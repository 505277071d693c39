"""The kind of media that some bytes are.

Holds `MediaType`, and `sniff`, which looks at the bytes first, then at the file name, then at the
content type: the bytes cannot lie about their own format, and the other two are often missing.
Formats without a signature (obj, xyz, csv, plain text) are told apart by name. A file is a text if it is
named so, if it is sent as one, or if neither a name's suffix nor a content type says what else it is.
"""

import re
import struct
from dataclasses import dataclass
from pathlib import PurePosixPath

from connectors.errors import UnsupportedMedia
from connectors.media.archive import archive_kind
from connectors.media.formats import FORMATS, MIMES, supported
from connectors.media.image_kinds import NETPBM, boxed_picture, unread_picture, unread_picture_type
from connectors.media.source import Source
from connectors.media.tags import sound_start
from connectors.media.unread_others import UNREAD_OTHERS
from connectors.media.unread_shapes import unread_shape
from connectors.media.unread_sounds import UNREAD_SOUND_NAMES, unread_sound
from connectors.modality import Modality


@dataclass(frozen=True, slots=True)
class MediaType:
    """A modality, and the MIME type of the format that carries it."""

    modality: Modality
    mime: str


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
"""Bytes that no text has, whatever its encoding. Names in obj, xyz and csv may be in any."""

BY_NAME = {
    suffix: MediaType(each.modality, each.mime)
    for each in FORMATS
    if each.mime in (kind.mime for kind in (TEXT, XYZ, OBJ, STL, GLTF, DAE))
    for suffix in each.suffixes
}
"""Formats a name decides, because their bytes may have no signature."""

CONTENT_TYPES = {
    "model/obj": OBJ,
    "model/stl": STL,
    GLTF.mime: GLTF,
    DAE.mime: DAE,
    "text/x-xyz": XYZ,
    "chemical/x-xyz": XYZ,
    "text/csv": XYZ,
}

TEXT_TYPES = frozenset({"text/plain", "text/markdown", "text/x-markdown", "text/x-rst", "text/asciidoc"})
"""Content types of texts: what is sent as one is a text under any name but that of a format read here."""

NEUTRAL_TYPES = frozenset({"", "application/octet-stream"})
"""Content types that say nothing; clients send the second where they know no better."""

SUFFIX = re.compile(r"\.(?=.*[a-z])[a-z0-9_+-]{1,12}")
"""A suffix: what follows a dot, where it is short, without a blank, and more than a number."""


def sniff(
    data: bytes,
    name: str | None = None,
    content_type: str | None = None,
    modality: Modality | None = None,
) -> MediaType:
    """Tell the media type of `data`; `name` is a file name, `content_type` a MIME type.

    `modality` is that which was asked for, if one was: then a name that says nothing is no obstacle.
    Raises `InvalidMedia` if `data` is empty or is not what its name or content type claims, and
    `UnsupportedMedia`, listing what is supported, if no decoder here reads it.
    """
    source = Source(data, name)
    if not data:
        raise source.invalid("is empty")
    found = _signed(data)
    if found is not None:
        return found
    suffix = suffix_of(name)
    mime = (content_type or "").split(";")[0].strip().lower()
    sent_as_text = mime in TEXT_TYPES or modality == "text"
    if (unread := _unread(data, suffix, mime, sent_as_text)) is not None:
        raise _unsupported(source, f"is {unread}")
    claimed = BY_NAME.get(suffix) or CONTENT_TYPES.get(mime)
    if claimed is None and suffix in MIMES:
        raise source.invalid(f"is named {suffix} but holds {_looks(data)}")
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
    if claimed is None and not sent_as_text and modality is None:
        if suffix:
            raise _unsupported(source, f"is named {suffix}")
        if mime not in NEUTRAL_TYPES:
            raise _unsupported(source, f"is sent as {mime[:60]}")
    return claimed or TEXT


def suffix_of(name: str | None) -> str:
    """Return the suffix of a file's name, in small letters, or nothing: "Mr. Smith" and "v1.2" have none."""
    suffix = PurePosixPath((name or "").lower()).suffix
    return suffix if SUFFIX.fullmatch(suffix) else ""


def expect(source: Source, modality: Modality) -> str:
    """The MIME type of an item that has to be of `modality`.

    Raises what `sniff` raises, and `InvalidMedia` if the item is of another modality.
    """
    found = sniff(source.data, source.name, modality=modality)
    if found.modality != modality:
        article = "an" if modality in ("image", "audio") else "a"
        wanted = {"audio": "audio file", "point_cloud": "point cloud"}.get(modality, modality)
        raise source.invalid(f"is {found.mime}, not {article} {wanted}")
    return found.mime


def is_text(data: bytes) -> bool:
    """Return whether the first bytes are UTF-8 without control characters."""
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
    """Return whether the triangle count at byte 80 gives the length of the file, but for a few bytes."""
    return len(data) > 84 and 0 <= len(data) - 84 - 50 * struct.unpack_from("<I", data, 80)[0] < 50


def _looks(data: bytes) -> str:
    return "text" if is_text(data) else "something else"


def _unread(data: bytes, suffix: str, mime: str, sent_as_text: bool) -> str | None:
    """Return what a file is, if it is of a kind that is known and not read; None if it is none of these.

    Bytes that may be a text's are one where the name or the sender says so.
    """
    if sent_as_text:
        return unread_sound(data) or unread_picture(data, "", named_text=True)
    found = unread_sound(data) or unread_picture(data, suffix, suffix in BY_NAME)
    if found is None:
        if BY_NAME.get(suffix) != TEXT:
            found = unread_shape(data[:HEAD], suffix)
        found = found or UNREAD_SOUND_NAMES.get(suffix) or UNREAD_OTHERS.get(suffix)
        found = found or unread_picture_type(mime)
    return found


def _unsupported(source: Source, what: str) -> UnsupportedMedia:
    texts = ", ".join(suffix[1:] for suffix, kind in BY_NAME.items() if kind == TEXT)
    return UnsupportedMedia(
        f"{source.label} {what}, which is not supported. "
        f"Supported: {supported()} ({texts}, or sent as text/plain)"
    )

"""Kinds of pictures told by their bytes and names: brands of boxed files, and kinds that are not read.

Holds `boxed_picture` and `unread_picture` for `sniff`, so that a refusal names what it refuses.
"""

import re
import struct

READ_MIMES = {
    "image/jpeg", "image/jpg", "image/pjpeg", "image/png", "image/apng", "image/webp", "image/gif",
    "image/bmp", "image/x-bmp", "image/x-ms-bmp", "image/tiff", "image/avif", "image/heic",
    "image/heif", "image/heic-sequence", "image/heif-sequence", "image/avif-sequence", "image/jp2",
    "image/j2k", "image/jpx", "image/jpeg2000", "image/x-portable-anymap", "image/x-portable-bitmap",
    "image/x-portable-graymap", "image/x-portable-pixmap",
}  # fmt: skip
"""Content types of what is read, under the names that are in use."""

_GAP = rb"(?:\s|#[^\r\n]*[\r\n])+"
NETPBM = rb"P(?:1%b[01]|[2356]%b\d+\s|4%b(?![A-Za-z]+[ .,:;]))" % (
    _GAP + rb"\d+" + _GAP + rb"\d+" + _GAP,
    _GAP + rb"\d+" + _GAP + rb"\d+" + _GAP,
    _GAP + rb"\d+" + _GAP + rb"\d+\s",
)
"""Begins a Netpbm picture, and hardly a sentence: width, height, and what has to follow them."""

SVG, JPEG_XL, RAW = "an SVG drawing", "a JPEG XL picture", "a camera's raw picture"

UNREAD_NAMES = {
    ".svg": SVG, ".svgz": SVG, ".jxl": JPEG_XL, ".ico": "a Windows icon (ICO)",
    ".cur": "a Windows cursor (CUR)", ".icns": "a macOS icon (ICNS)", ".psd": "a Photoshop picture (PSD)",
    ".psb": "a Photoshop picture (PSB)", ".tga": "a Targa picture (TGA)", ".xpm": "an XPM picture",
    ".xbm": "an XBM picture", ".dds": "a DDS texture", ".ktx": "a KTX texture", ".ktx2": "a KTX texture",
    ".hdr": "a Radiance HDR picture", ".exr": "an OpenEXR picture", ".pfm": "a PFM picture",
    ".pam": "a PAM picture", ".eps": "an EPS drawing", ".wmf": "a WMF drawing", ".emf": "an EMF drawing",
    ".qoi": "a QOI picture", ".pcx": "a PCX picture", ".sgi": "an SGI picture",
    ".ras": "a Sun raster picture",
    ".djvu": "a DjVu document", ".djv": "a DjVu document", ".xcf": "a GIMP picture (XCF)",
    ".jxr": "a JPEG XR picture", ".wdp": "a JPEG XR picture", ".jls": "a JPEG-LS picture",
    ".bpg": "a BPG picture", ".flif": "a FLIF picture", ".mng": "an MNG animation",
    ".jng": "a JNG picture", ".fits": "a FITS picture", ".fit": "a FITS picture", ".dcm": "a DICOM picture",
    **dict.fromkeys(
        (".dng", ".nef", ".nrw", ".arw", ".cr2", ".cr3", ".raf", ".rw2", ".orf", ".pef", ".srw"), RAW
    ),
}  # fmt: skip
"""Pictures that are not read, by the names of their files."""

UNREAD_SIGNATURES = tuple(
    (re.compile(pattern, re.DOTALL), kind)
    for pattern, kind in (
        (rb"\xff\x0a|\0{3}\x0cJXL \r\n\x87\n", JPEG_XL),  # ISO/IEC 18181-2, 9.1
        (rb"8BPS\0\x01", "a Photoshop picture (PSD)"),
        (rb"8BPS\0\x02", "a Photoshop picture (PSB)"),
        (rb"\0\0\x01\0[\x01-\x40]\0.{3}\0[\0\x01]\0", "a Windows icon (ICO)"),
        (rb"\0\0\x02\0[\x01-\x40]\0.{3}\0", "a Windows cursor (CUR)"),
        (rb"icns", "a macOS icon (ICNS)"),
        (rb"DDS \x7c\0{3}", "a DDS texture"),
        (rb"\xabKTX [12][10]\xbb", "a KTX texture"),
        (rb"\x76\x2f\x31\x01", "an OpenEXR picture"),
        (rb"qoif", "a QOI picture"),
        (rb"\xc5\xd0\xd3\xc6", "an EPS drawing"),
        (rb"\xd7\xcd\xc6\x9a", "a WMF drawing"),
        (rb"\x01\0{3}.{36} EMF", "an EMF drawing"),
        (rb"\x01\xda[\0\x01][\x01\x02]\0[\x01-\x03]", "an SGI picture"),
        (rb"\x59\xa6\x6a\x95", "a Sun raster picture"),
        (rb"AT&TFORM", "a DjVu document"),
        (rb"gimp xcf ", "a GIMP picture (XCF)"),
        (rb"II\xbc[\0\x01]", "a JPEG XR picture"),
        (rb"BPG\xfb", "a BPG picture"),
        (rb"\x8aMNG\r\n", "an MNG animation"),
        (rb"\x8bJNG\r\n", "a JNG picture"),
        (rb".{128}DICM", "a DICOM picture"),
        (rb"IIU\0|IIR[OS]|MMOR|FUJIFILMCCD-RAW", RAW),
    )
)

UNREAD_TEXTS = tuple(
    (re.compile(pattern, re.DOTALL), kind)
    for pattern, kind in (
        (
            rb"(?:\xef\xbb\xbf)?(?:\s++|<\?[^>]*+>|<!--(?:(?!-->).)*+-->|<!DOCTYPE(?:[^>\[]|\[[^\]]*+\])*+>)*+"
            rb"<(?:svg:)?svg[\s>/]",
            SVG,
        ),
        (rb"/\* XPM \*/", "an XPM picture"),
        (rb"#define\s+\w*width\s+\d+\s+#define\s+\w*height\s+\d+\s", "an XBM picture"),
        (rb"#\?(RADIANCE|RGBE)\s", "a Radiance HDR picture"),
        (rb"%!PS-Adobe-[\d.]+ EPSF", "an EPS drawing"),
        (rb"P7\s+(WIDTH|HEIGHT|DEPTH|MAXVAL|TUPLTYPE|#)", "a PAM picture"),
        (rb"P[Ff]\s\d+\s\d+\s-?\d", "a PFM picture"),
        (rb"SIMPLE  =", "a FITS picture"),
    )
)
"""Kinds whose bytes might be a text's, and are one where the name or the content type says so."""

AVIF_BRANDS = {b"avif", b"avis"}
HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
HEIF_BRANDS = {b"mif1", b"msf1", b"mif2", b"miaf"}
MOST_BRANDS = 64


def boxed_picture(data: bytes) -> str | None:
    """Return the MIME type if the `ftyp` box says that this is a picture, None if not.

    The major brand counts first, then the compatible ones in their order: files of brand `mif1`
    hold AVIF or HEIC pictures. Source: ISO/IEC 14496-12, 4.3, and 23008-12, 10.
    """
    if data[4:8] != b"ftyp" or len(data) < 12:
        return None
    end = min(struct.unpack_from(">I", data)[0], len(data), 16 + 4 * MOST_BRANDS)
    brands = [data[8:12], *(data[at : at + 4] for at in range(16, end - 3, 4))]
    if brands[0] not in AVIF_BRANDS | HEIC_BRANDS | HEIF_BRANDS:
        return None
    for brand in brands:
        if brand in AVIF_BRANDS:
            return "image/avif"
        if brand in HEIC_BRANDS:
            return "image/heic"
    return "image/heif"


def unread_picture(data: bytes, suffix: str, named_text: bool) -> str | None:
    """Return the name of a kind of picture that is not read, None if this is none.

    `suffix` is the end of the item's name; `named_text` says that the name or the sender makes it a
    text, so that bytes which could be either are one.
    """
    for pattern, kind in UNREAD_SIGNATURES if named_text else UNREAD_SIGNATURES + UNREAD_TEXTS:
        if pattern.match(data[:4096]):
            return kind
    return UNREAD_NAMES.get(suffix)


def unread_picture_type(mime: str) -> str | None:
    """Return what a content type calls a picture of a kind that is not read, None if it is another's."""
    if mime.startswith("image/") and mime not in READ_MIMES:
        return f"a picture of type {mime[:60]}"
    return None

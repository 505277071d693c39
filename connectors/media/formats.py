"""Every format that is read: its modality, MIME type, names, and what of it is read.

`sniff` takes names from here, messages what a format is called, and docs/media.md its table.
"""

from dataclasses import dataclass

from connectors.modality import Modality


@dataclass(frozen=True, slots=True)
class Format:
    """A format that is read."""

    modality: Modality
    title: str
    mime: str
    suffixes: tuple[str, ...]
    """Ends of file names, in small letters."""
    reads: str
    """Its parts and variants that are read, and those that are not, for docs/media.md."""


CONTAINERS = "the first sound track of a recording or a video; protected tracks (DRM) are refused"

FORMATS = (
    Format(
        "text",
        "UTF-8 text",
        "text/plain",
        (".txt", ".text", ".md", ".markdown", ".rst", ".adoc", ".asciidoc"),
        "the words as they are; also without a name, and under any name when sent as `text/plain`",
    ),
    Format(
        "image",
        "JPEG",
        "image/jpeg",
        (".jpg", ".jpeg", ".jpe", ".jfif"),
        "baseline and progressive, grey, RGB, CMYK and YCCK; not lossless, hierarchical, 12-bit or JPEG-LS",
    ),
    Format(
        "image",
        "PNG",
        "image/png",
        (".png", ".apng"),
        "every depth; of an animation its still picture; not Apple's CgBI",
    ),
    Format("image", "WebP", "image/webp", (".webp",), "lossy, lossless; of an animation the first frame"),
    Format("image", "GIF", "image/gif", (".gif",), "the first frame, on a transparent canvas"),
    Format("image", "BMP", "image/bmp", (".bmp",), "1 to 32 bits a pixel, run lengths"),
    Format(
        "image",
        "TIFF",
        "image/tiff",
        (".tif", ".tiff", ".btf"),
        "the first page, BigTIFF too; greys of 8 to 32 bits and float; not RGB of float or 64 bits",
    ),
    Format("image", "AVIF", "image/avif", (".avif",), "the primary picture"),
    Format("image", "HEIC", "image/heic", (".heic", ".heif", ".hif"), "the primary picture, coded as HEVC"),
    Format("image", "HEIF", "image/heif", (), "the same, where the brand leaves open what is in it"),
    Format("image", "JPEG 2000", "image/jp2", (".jp2", ".j2k", ".jpx"), "up to 4 components"),
    Format(
        "image",
        "PNM",
        "image/x-portable-anymap",
        (".ppm", ".pgm", ".pbm", ".pnm"),
        "P1 to P6, the first picture; not PAM or PFM",
    ),
    Format(
        "audio",
        "wav",
        "audio/wav",
        (".wav", ".wave", ".rf64", ".bw64"),
        "RIFF, RF64 and BW64; PCM, float, ADPCM, GSM, mp3; a length that streaming left open",
    ),
    Format("audio", "flac", "audio/flac", (".flac",), "every depth; files joined end to end"),
    Format(
        "audio",
        "ogg",
        "audio/ogg",
        (".ogg", ".oga", ".opus", ".spx", ".ogv"),
        "Vorbis, Opus, FLAC, Speex; chained streams one after another",
    ),
    Format("audio", "mp3", "audio/mpeg", (".mp3", ".mp2"), "layers II and III; files joined end to end"),
    Format("audio", "aac", "audio/aac", (".aac",), "ADTS"),
    Format("audio", "aiff", "audio/aiff", (".aif", ".aiff", ".aifc"), "AIFF and AIFF-C"),
    Format("audio", "au", "audio/basic", (".au", ".snd"), "PCM, float, mu-law, A-law"),
    Format("audio", "caf", "audio/x-caf", (".caf",), "PCM, ALAC, AAC and others"),
    Format("audio", "w64", "audio/x-w64", (".w64",), "as wav"),
    Format("audio", "m4a", "audio/mp4", (".m4a", ".m4b"), "AAC, ALAC and others; not protected (DRM)"),
    Format("audio", "mp4", "video/mp4", (".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2"), CONTAINERS),
    Format("audio", "webm", "audio/webm", (".webm",), CONTAINERS),
    Format("audio", "mkv", "video/x-matroska", (".mka", ".mkv"), CONTAINERS),
    Format("audio", "wma", "audio/x-ms-wma", (".wma", ".asf"), "WMA 1 and 2, and what else FFmpeg decodes"),
    Format("audio", "amr", "audio/amr", (".amr", ".awb"), "narrow and wide band"),
    Format("audio", "ac3", "audio/ac3", (".ac3", ".eac3"), "AC-3 and E-AC-3"),
    Format("audio", "wv", "audio/x-wavpack", (".wv",), "WavPack, lossless and hybrid"),
    Format("audio", "tta", "audio/x-tta", (".tta",), "True Audio"),
    Format("audio", "dsf", "audio/x-dsf", (".dsf",), "DSD"),
    Format("point_cloud", "npy", "application/x-npy", (".npy",), "[N, 3] or more columns of numbers"),
    Format("point_cloud", "npz", "application/x-npz", (".npz",), "one array of that shape"),
    Format(
        "point_cloud",
        "ply",
        "model/ply",
        (".ply",),
        "text and binary; a cloud, or a mesh whose faces may be concave",
    ),
    Format("point_cloud", "pcd", "model/x-pcd", (".pcd",), "every 0.x version: text, binary, compressed"),
    Format(
        "point_cloud",
        "xyz",
        "text/x-xyz",
        (".xyz", ".pts", ".asc", ".csv"),
        "rows of numbers; with a header x, y and z are found by name, and no other column becomes one",
    ),
    Format("point_cloud", "las", "application/vnd.las", (".las", ".laz"), "every point"),
    Format(
        "point_cloud",
        "obj",
        "model/obj",
        (".obj",),
        "vertices and faces, concave ones too; its mtl is never opened",
    ),
    Format("point_cloud", "off", "model/off", (".off",), "OFF, COFF, NOFF and so on; colours are left out"),
    Format("point_cloud", "stl", "model/stl", (".stl",), "text and binary"),
    Format(
        "point_cloud",
        "glb",
        "model/gltf-binary",
        (".glb",),
        "glTF 2: scenes, skins, morph weights, instances; extensions it requires that are not read are named",
    ),
    Format(
        "point_cloud",
        "gltf",
        "model/gltf+json",
        (".gltf",),
        "the same with embedded data, or in one zip with its files",
    ),
    Format("point_cloud", "3mf", "model/3mf", (".3mf",), "meshes, components, the production extension"),
    Format(
        "point_cloud",
        "dae",
        "model/vnd.collada+xml",
        (".dae",),
        "triangles, polygons, strips and fans, placed; not splines, morphs, polygons with holes",
    ),
)

TITLES = {each.mime: each.title for each in FORMATS}
"""Names of the MIME types in messages."""
MIMES = {suffix: each.mime for each in FORMATS for suffix in each.suffixes}
"""The MIME type that a file's name promises."""


def supported() -> str:
    """Return in a line what is read, for a message that refuses something else."""
    clouds = ("npy", "npz", "ply", "pcd", "xyz", "csv", "las", "laz")
    listed = {
        modality: [each.title for each in FORMATS if each.modality == modality]
        for modality in ("image", "audio", "point_cloud")
    }
    meshes = [title for title in listed["point_cloud"] if title not in clouds]
    return (
        f"images ({', '.join(listed['image'])}), sound ({', '.join(listed['audio'])}), "
        f"point clouds ({', '.join(clouds)}), meshes ({', '.join(meshes)}) and UTF-8 text"
    )

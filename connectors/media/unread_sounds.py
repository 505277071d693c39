"""Kinds of sound files, and of videos with sound, that are known and not read: a refusal names them.

Holds `unread_sound`, which looks at the bytes, and the ends of names for the rest.
"""

import re

SIGNATURES = (
    (rb"MThd\0\0\0\x06|RIFF.{4}RMID", "a MIDI file (notes, not sound)"),
    (rb"MAC [\x80-\xff]\x0f", "a Monkey's Audio (ape) file"),
    (rb"MP\+[\x07\x17\x27]|MPCKSH", "a Musepack (mpc) file"),
    (rb"tBaK", "a TAK file"),
    (rb"ajkg[\x01-\x03]", "a Shorten (shn) file"),
    (rb"FRM8.{8}DSD ", "a DSDIFF (dff) file"),
    (rb"Creative Voice File\x1a", "a Creative Voice (voc) file"),
    (rb"\x7f\xfe\x80\x01", "a DTS file"),
    (rb"\.RMF\0\0\0", "a RealMedia file"),
    (rb"RIFF.{4}AVI ", "an AVI video"),
    (rb"FLV\x01", "a Flash video"),
    (rb"\0\0\x01\xba|(G.{187}){4}", "an MPEG stream"),
)
PATTERNS = tuple((re.compile(pattern, re.DOTALL), name) for pattern, name in SIGNATURES)

UNREAD_SOUND_NAMES = {
    **dict.fromkeys((".mid", ".midi", ".kar", ".rmi"), "a MIDI file (notes, not sound)"),
    ".ape": "a Monkey's Audio (ape) file",
    ".mpc": "a Musepack (mpc) file",
    ".tak": "a TAK file",
    ".shn": "a Shorten (shn) file",
    ".dff": "a DSDIFF (dff) file",
    ".voc": "a Creative Voice (voc) file",
    ".dts": "a DTS file",
    **dict.fromkeys((".ra", ".rm"), "a RealMedia file"),
    **dict.fromkeys((".mod", ".xm", ".s3m", ".it"), "a tracker module (notes and samples)"),
    ".avi": "an AVI video",
    ".flv": "a Flash video",
    **dict.fromkeys((".mpg", ".mpeg", ".m2ts"), "an MPEG stream"),
    **dict.fromkeys((".m3u", ".m3u8", ".pls", ".cue"), "a playlist"),
}
"""Sounds, and videos with sound, that are not read, by the names of their files."""


def unread_sound(data: bytes) -> str | None:
    """Return what a file is, by its first bytes; None if it is none of these."""
    return next((name for pattern, name in PATTERNS if pattern.match(data)), None)

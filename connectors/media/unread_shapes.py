"""Kinds of 3D files that are known and not read, so that a refusal can say what a file is.

Holds `unread_shape`, which looks at the bytes and the end of the name. None of these has a reader that is
kept by others, safe on hostile bytes and free to ship.
"""

import re

UNREAD_SHAPES = {
    ".fbx": "an Autodesk FBX scene",
    ".blend": "a Blender file",
    **dict.fromkeys((".usd", ".usda", ".usdc", ".usdz"), "a Universal Scene Description (USD)"),
    **dict.fromkeys((".step", ".stp", ".stpz", ".p21"), "a STEP model"),
    **dict.fromkeys((".iges", ".igs"), "an IGES model"),
    **dict.fromkeys((".x3d", ".x3db", ".x3dv", ".x3dz"), "an X3D scene"),
    **dict.fromkeys((".wrl", ".vrml", ".wrz"), "a VRML scene"),
    ".amf": "an Additive Manufacturing File (AMF)",
    **dict.fromkeys((".vtk", ".vtp", ".vtu", ".vti", ".vts", ".vtr", ".pvtu"), "a VTK data set"),
    ".3ds": "an Autodesk 3DS scene",
    ".max": "an Autodesk 3ds Max scene",
    **dict.fromkeys((".ma", ".mb"), "an Autodesk Maya scene"),
    **dict.fromkeys((".dxf", ".dwg"), "an AutoCAD drawing"),
    ".e57": "an ASTM E57 scan",
    ".ifc": "an IFC building model",
    ".skp": "a SketchUp model",
    ".3dm": "a Rhino model",
    ".c4d": "a Cinema 4D scene",
    **dict.fromkeys((".lwo", ".lws"), "a LightWave model"),
    ".drc": "a Draco mesh",
    **dict.fromkeys((".splat", ".ksplat", ".spz"), "a Gaussian splat"),
    ".ptx": "a Leica PTX scan",
    **dict.fromkeys((".fls", ".rcp", ".rcs", ".zfs", ".cl3"), "a scanner's project"),
    **dict.fromkeys(
        (".brep", ".sldprt", ".sldasm", ".catpart", ".jt", ".x_t", ".x_b", ".ipt"), "a CAD model"
    ),
    ".msh": "a Gmsh mesh",
    ".mtl": "a list of an obj's materials",
    ".u3d": "a Universal 3D scene",
    **dict.fromkeys((".md2", ".md3", ".md5mesh", ".smd", ".b3d", ".x", ".ac"), "a game's model"),
}
"""Kinds of files, by the ends of their names."""

SIGNATURES = (
    (rb"Kaydara FBX Binary|; FBX \d", ".fbx"),
    (rb"BLENDER[-_]", ".blend"),
    (rb"PXR-USDC|#usda \d|PK\x03\x04.{26}[^\0]{0,200}?\.usd[ac]", ".usd"),
    (rb"ISO-10303-21;", ".step"),
    (rb".{72}S {0,6}0*1\s", ".iges"),
    (rb"#VRML V", ".wrl"),
    (rb"#X3D V|(\xef\xbb\xbf)?\s*(<\?xml.{0,200}?\?>\s*)?(<!DOCTYPE X3D.{0,300}?>\s*)?<X3D\b", ".x3d"),
    (rb"(\xef\xbb\xbf)?\s*(<\?xml.{0,200}?\?>\s*)?<amf\b", ".amf"),
    (rb"# vtk DataFile|(\xef\xbb\xbf)?\s*(<\?xml.{0,200}?\?>\s*)?<VTKFile\b", ".vtk"),
    (rb"MM.{4}(\x02\0\x0a\0|=\x3d)", ".3ds"),
    (rb"AC10\d\d\0|\s*0\r?\n\s*SECTION\r?\n", ".dxf"),
    (rb"ASTM-E57", ".e57"),
    (rb"DRACO[\x01\x02]", ".drc"),
    (rb"\$MeshFormat\s", ".msh"),
    (rb"3D Geometry File Format ", ".3dm"),
)
PATTERNS = tuple((re.compile(pattern, re.DOTALL), UNREAD_SHAPES[suffix]) for pattern, suffix in SIGNATURES)
PATTERNS += ((re.compile(rb"Ogawa\xff"), "an Alembic scene"),)  # not by name: .abc is music, too


def unread_shape(head: bytes, suffix: str) -> str | None:
    """Return what a file is, by its first bytes or its name's end (`.fbx`); None if it is none of these."""
    found = next((name for pattern, name in PATTERNS if pattern.match(head)), None)
    return found or UNREAD_SHAPES.get(suffix)

"""Other files that users have beside their media, or take for media: not read, and no texts.

Nearly every file of letters decodes as UTF-8, so that it is the name which makes it a text.
"""

UNREAD_OTHERS = {
    suffix: name
    for suffixes, name in (
        (".scad", "an OpenSCAD program"),
        (".bvh", "a motion capture"),
        (".ps", "a PostScript document"),
        (".pdf", "a PDF document"),
        (".zip .gz .7z .rar .tar", "an archive: see POST /ingest"),
        (".srt .vtt .ass .ssa .lrc", "a file of subtitles"),
        (".html .htm .xhtml", "an HTML page"),
        (".xml", "an XML document"),
        (".json .jsonl .ndjson .geojson", "JSON data"),
        (".yaml .yml .toml .ini .cfg .conf .properties", "a settings file"),
        (".tsv", "a table with tabs"),
        (".log", "a log"),
        (".tex .bib", "a LaTeX source"),
        (".rtf", "a Rich Text document"),
        (".doc .docx .odt", "a document of a word processor"),
        (".gpx .kml", "a file of places"),
        (".py .js .ts .css .c .h .cc .cpp .hpp .java .rs .go .sh .bat .sql .glsl", "source code"),
    )
    for suffix in suffixes.split()
}
"""Their kinds, by the ends of their names."""

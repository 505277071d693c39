"""The sample gallery: sounds, pictures, shapes and sentences this project made by itself.

`gallery.json` lists the files in `media/` with what they are called; `gallery_maker`, which is not installed
with the service, makes them anew. Nothing here comes from anywhere else, so it may be used by anyone for
anything.
"""

"""The sample gallery: sounds, pictures, shapes and sentences made by this project.

`gallery.json` lists the files in `media/` with their names; `gallery_maker`, which is not installed with the
service, makes them anew. Nothing here comes from anywhere else, so anyone may use it for anything.
"""

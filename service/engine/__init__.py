"""The engine: media in, vectors out, for many requests at once."""

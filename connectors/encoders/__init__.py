"""The frozen encoders, one module an architecture."""

"""The model layer: media bytes in, unit vectors of one unified space out."""

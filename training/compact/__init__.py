"""How the compact bundle is made: `python -m training.compact --data DIR --output DIR`."""

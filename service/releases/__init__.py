"""Releases of connectors: what there is, what is served, and the switch between them."""

"""Releases of connectors: their store, the choice at the start, and the switch between them."""

"""Ingest jobs: whole folders, archives and manifests into the index, item by item."""

"""The vector index: one protocol, several Qdrant back ends."""

"""The vector index: one protocol, several Qdrant backends."""

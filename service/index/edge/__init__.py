"""The embedded index: Qdrant Edge, each shard in a child process of its own."""

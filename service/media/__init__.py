"""The original files of stored points, in a folder or an object store."""

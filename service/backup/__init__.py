"""Backups of everything that is kept, and collections as Parquet files: out and back in."""

"""Everything that is kept, taken out and brought back: backups, and collections as Parquet files."""

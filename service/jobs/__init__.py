"""Work that outlives a request: one registry of jobs, kept on the disk, whatever their kind."""

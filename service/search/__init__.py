"""Search: a query's parts into one vector, hits of every modality into one ranking."""

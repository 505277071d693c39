"""Search: a query's parts become one vector, hits of every modality one ranking."""

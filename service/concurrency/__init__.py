"""Child processes, the typed messages they exchange with the service, and a lock that serves in order."""

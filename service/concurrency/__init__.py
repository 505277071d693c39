"""Child processes, the messages they are sent, and a lock that serves in order."""

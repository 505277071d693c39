"""Servers that Isthmus is measured beside, and the one model that all of them serve."""

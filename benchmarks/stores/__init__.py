"""The data `benchmarks/index.py` is measured on, and the stores it measures."""

"""The steps of `benchmarks/gpu.py`: each measures one thing on a card, or a little of it on the CPU."""

"""What `benchmarks/layers.py` is made of."""

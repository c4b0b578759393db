"""How fast and how small the platform is, against the libraries that do the work: `python -m benchmarks`.

Every figure is a ratio of two sides measured in one run on one machine, so that it says the same elsewhere.
"""

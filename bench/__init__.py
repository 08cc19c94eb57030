"""Benchmarks that run a peer and us side by side; see `README.md`."""

"""Numba kernels: they see arrays and scalars only."""

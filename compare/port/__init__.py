"""Bring your own pair: a module in PyTorch and a function in JAX, compared as the twins of the house are."""

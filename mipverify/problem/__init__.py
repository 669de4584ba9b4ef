"""Norms, regions, unsafe sets and queries."""

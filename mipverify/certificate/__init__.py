"""Certificates, and the checker that people trust: no solver, no search, no torch."""

"""Canonical operators, graphs and their evaluation in numpy."""

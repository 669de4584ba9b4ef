"""Figures of a report, each a function from runs to a drawing."""

"""Bounds of unstable neurons from linear and mixed-integer programs."""

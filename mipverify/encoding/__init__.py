"""Query and bounds to a mixed-integer program, and back."""

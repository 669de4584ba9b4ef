"""The solver-neutral program and the result of a solve."""

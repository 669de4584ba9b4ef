"""Methods: what answers the questions of a suite, one kind a file."""

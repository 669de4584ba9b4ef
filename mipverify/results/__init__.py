"""Many answers at once, as Python holds them: collected from a generator, or read from a run."""

"""The store of a run: one SQLite file and the files that its records name."""

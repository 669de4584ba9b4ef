"""Many queries: in this process or in several, always in order."""

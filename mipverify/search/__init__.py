"""Own branch-and-bound over the phases of unstable ReLUs."""

"""Files to graphs, data sets and runnable networks."""

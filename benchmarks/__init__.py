"""The benchmark: suites of questions, methods that answer them, results that can be compared and shown."""

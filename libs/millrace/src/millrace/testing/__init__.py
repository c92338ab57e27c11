"""For tests of the library and of those who use it: a world in one process, builders, waiting on conditions, conformance suites."""

"""For tests of the library and of those who use it: waiting on conditions, a clock that skips, conformance suites."""

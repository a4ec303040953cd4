"""The command line: parse, call one function of :mod:`mlopt.api`, print, exit code."""

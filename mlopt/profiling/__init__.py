"""Time candidates side by side: worker processes, launches, interleaved rounds.

Nothing is imported here: a timing worker loads :mod:`mlopt.profiling.session`, and what it would
load besides (scipy takes a second) is launched anew with every one of its lives.
"""

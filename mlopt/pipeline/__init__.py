"""Propose, build, measure, decide, store."""

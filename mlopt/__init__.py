"""mlopt: which deployable form of a trained PyTorch model to ship, and what it costs.

The Python API is :mod:`mlopt.api`, one function for each command.
"""

__version__ = "0.3.0"

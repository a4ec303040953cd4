"""Time candidates side by side: worker processes, launches, interleaved rounds."""

from mlopt.profiling.summary import summarize
from mlopt.profiling.trial import Contestant, Observed, run_trial

__all__ = ["Contestant", "Observed", "run_trial", "summarize"]

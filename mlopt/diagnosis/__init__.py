"""Why a model is as fast as it is: where its time goes, what was not fused, and what it could reach."""

from mlopt.diagnosis.diagnose import Subject, diagnose

__all__ = ["Subject", "diagnose"]

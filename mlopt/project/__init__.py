"""The project file, ``mlopt.yaml``: what the user brings, and what they expect of it."""

from mlopt.project.load import FILE, LoadedProject, load_project
from mlopt.project.schema import MetricSpec, Project, json_schema

__all__ = ["FILE", "LoadedProject", "MetricSpec", "Project", "json_schema", "load_project"]

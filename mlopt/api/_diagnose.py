"""Explain one model: ``mlopt diagnose``."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from mlopt.errors import ConfigError
from mlopt.pipeline.diagnose import DiagnoseRequest, diagnose_model
from mlopt.report.diagnosis import Part, findings, headline, parts
from mlopt.store.cache import Cache, default_cache_dir
from mlopt.types.diagnosis import Diagnosis
from mlopt.types.events import OnEvent

DOCUMENT_SCHEMA_VERSION = 1


class DiagnoseResult(NamedTuple):
    """Why a model is as fast as it is.

    Attributes:
        model: As it was named.
    """

    model: str
    diagnosis: Diagnosis

    @property
    def sentence(self) -> str:
        """How long an inference takes."""
        return f"{self.model}: {headline(self.diagnosis)}"

    @property
    def parts(self) -> list[Part]:
        """The tables."""
        return parts(self.diagnosis)

    @property
    def findings(self) -> list[str]:
        """What stands in no table."""
        return findings(self.diagnosis)

    @property
    def advice(self) -> list[str]:
        """What to try next."""
        return [f"{one.action}: {one.because}" for one in self.diagnosis.advice]

    @property
    def notes(self) -> list[str]:
        """What a reader should know before trusting the numbers."""
        return list(self.diagnosis.notes)

    def document(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        found = self.diagnosis
        return {
            "schema_version": DOCUMENT_SCHEMA_VERSION,
            "model": self.model,
            **found.model_dump(mode="json"),
            "gmacs_per_s": found.gmacs_per_s,
            "int8_peak_share": found.int8_peak_share,
        }


def diagnose(
    model: str | Path,
    *,
    provider: str | None = None,
    data: Path | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    on_event: OnEvent | None = None,
) -> DiagnoseResult:
    """Runs a model under the profiler, looks at the graph that the runtime made, and explains both.

    Args:
        model: An ``.onnx`` file, the directory of an artifact or of a run, or ``RUN:CANDIDATE``,
            with ``@PROVIDER`` at its end to choose where it runs.
        provider: Where it runs, unless its name says so; default: where it is meant to, else the CPU.
        data: An ``.npz`` file with an array for each input; default: synthetic inputs.
        batch_size: Examples in one inference; default: what the model insists on, else 1.
        seed: For synthetic inputs.
        on_event: Called with what is going on.

    Raises:
        MloptError: The model, the data or the provider cannot be used.
    """
    if batch_size is not None and batch_size < 1:
        raise ConfigError("--batch-size must be at least 1.")
    request = DiagnoseRequest(str(model), provider, data, batch_size, seed)
    with tempfile.TemporaryDirectory(prefix="mlopt-") as work:
        found = diagnose_model(
            request, Cache(default_cache_dir()), Path(work), on_event or (lambda event: None)
        )
    return DiagnoseResult(str(model), found)

"""What the machine reaches, and what a model of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from diagnoses import node

from mlopt.diagnosis import peaks
from mlopt.diagnosis.peaks import at_least_reached, measure_peaks
from mlopt.providers import resolve_provider
from mlopt.providers._base import Binding, Provider
from mlopt.runners.onnxruntime import OnnxRuntimeRunner
from mlopt.types.diagnosis import Peaks


def test_all_peaks_are_measured_on_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peaks, "SIZE", 64)
    monkeypatch.setattr(peaks, "LARGE", 1000)
    monkeypatch.setattr(peaks, "SECONDS", 0.0)

    found = measure_peaks(OnnxRuntimeRunner(intra_op_threads=1), resolve_provider("cpu"), tmp_path)

    assert found.int8_gmacs_per_s
    assert found.float_gmacs_per_s
    assert found.memory_gb_per_s
    assert "64 by 64" in found.how


def test_a_device_with_a_memory_of_its_own_is_not_measured(tmp_path: Path) -> None:
    class Device(Provider):
        name = "device"

        @property
        def binding(self) -> Binding | None:
            return None

    found = measure_peaks(OnnxRuntimeRunner(), Device(), tmp_path)

    assert found == Peaks(how="not measured: device does not compute in the host's memory")


@pytest.mark.parametrize(("fields", "peak"), [({"macs": 10**8}, 200.0), ({"macs": 10**6}, 100.0)])
def test_a_peak_is_not_below_what_a_node_reached(fields: dict[str, Any], peak: float) -> None:
    measured = Peaks(int8_gmacs_per_s=100.0, float_gmacs_per_s=50.0)

    found = at_least_reached(measured, [node("a", 0.5, **fields)])

    assert (found.int8_gmacs_per_s, found.float_gmacs_per_s) == (peak, 50.0)


def test_a_peak_that_was_not_measured_stays_so() -> None:
    assert at_least_reached(Peaks(), [node("a", 0.5, macs=10**8)]).int8_gmacs_per_s is None

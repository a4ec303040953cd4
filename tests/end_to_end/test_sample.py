"""``mlopt optimize`` on the sample, from the command line to the report."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import LAUNCHES, ROUNDS, SAMPLE, SampleRun, mlopt

from mlopt import api

pytestmark = pytest.mark.slow

KEYS = {
    "name", "recipe", "provider", "status", "p50_ms", "p50_ci_ms", "p99_ms", "p99_ci_ms", "p50_ratio",
    "p50_ratio_ci", "metrics", "size_bytes", "peak_rss_bytes", "cold_start_ms",
}  # fmt: skip


def entry(run: SampleRun, name: str) -> dict[str, Any]:
    return next(c for c in run.document["candidates"] if c["name"] == name)


def test_json_is_one_document_with_the_documented_keys(sample_run: SampleRun) -> None:
    document = sample_run.document

    assert sample_run.finished.code in {0, 4}, sample_run.finished.err
    assert document["schema_version"] == 1
    assert document["baseline"] == "fp32"
    assert document["chosen"] == "int8-static"
    assert document["verdict"] in {"PASS", "INCONCLUSIVE"}
    assert [c["name"] for c in document["candidates"]] == [
        "pytorch", "fp32", "int8-dynamic", "int8-static",
    ]  # fmt: skip
    for candidate in document["candidates"]:
        assert candidate.keys() >= KEYS
        assert candidate["status"] == "measured"
        low, high = candidate["p50_ci_ms"]
        assert 0 < low <= candidate["p50_ms"] <= high
        accuracy = candidate["metrics"]["accuracy"]
        assert accuracy.keys() == {"value", "delta", "delta_ci", "split"}
        assert accuracy["value"] > 0.95


def test_the_chosen_one_is_proved_on_the_holdout_and_the_others_on_selection(
    sample_run: SampleRun,
) -> None:
    assert entry(sample_run, "int8-static")["metrics"]["accuracy"]["split"] == "holdout"
    assert entry(sample_run, "pytorch")["metrics"]["accuracy"]["split"] == "selection"


def test_progress_goes_to_stderr_and_names_rounds(sample_run: SampleRun) -> None:
    assert re.search(rf"launch 1 of {LAUNCHES}, round \d+ of \d+", sample_run.finished.err)
    assert "Traceback" not in sample_run.finished.err


def test_the_directory_of_the_run_has_every_file(sample_run: SampleRun) -> None:
    directory = sample_run.directory
    names = {path.name for path in directory.iterdir()}

    assert names >= {
        "plan.json",
        "candidates.jsonl",
        "run.json",
        "adr.md",
        "plots",
        "samples",
        "model",
    }
    assert len((directory / "candidates.jsonl").read_text().splitlines()) == 4
    assert {p.name for p in (directory / "plots").iterdir()} == {"tradeoff.svg", "latency.svg"}
    plan_hash = hashlib.sha256((directory / "plan.json").read_bytes()).hexdigest()
    assert json.loads((directory / "run.json").read_text())["plan_sha256"] == plan_hash
    assert plan_hash in (directory / "adr.md").read_text()


def test_no_file_of_a_run_names_a_path_or_the_host(sample_run: SampleRun) -> None:
    import platform

    for path in sample_run.directory.rglob("*"):
        if path.suffix in {".json", ".jsonl", ".md", ".svg"}:
            text = path.read_text()
            assert str(sample_run.directory.parent) not in text, path
            assert str(Path.home()) not in text, path
            if len(platform.node()) > 3:
                assert platform.node() not in text, path


def test_raw_samples_are_kept_whole(sample_run: SampleRun) -> None:
    run = json.loads((sample_run.directory / "run.json").read_text())
    for candidate in run["candidates"]:
        measurement = candidate["selection"]["measurements"][0]
        with np.load(sample_run.directory / measurement["samples"]["path"]) as file:
            ns, blocks = file["ns"], file["blocks"]
        assert list(ns.shape) == measurement["samples"]["shape"]
        launches, rounds, sizes = blocks.T
        assert set(launches) <= set(range(LAUNCHES))
        assert set(rounds) <= set(range(ROUNDS))
        assert len(set(sizes)) == 1, "every block has the same number of samples"
        assert sizes.sum() == len(ns)
        # A slow machine ends a trial before all rounds.
        assert len(blocks) == measurement["rounds"]
        assert np.median(ns) / 1e6 == pytest.approx(measurement["p50_ms"]["value"], rel=1e-9)


def test_the_shipped_model_answers_as_was_measured_with_its_session_settings(
    sample_run: SampleRun,
) -> None:
    import onnxruntime as ort

    model = sample_run.directory / "model"
    settings = json.loads((model / "session.json").read_text())
    assert settings["runner"] == "onnxruntime"
    options = ort.SessionOptions()
    options.intra_op_num_threads = settings["settings"]["intra_op_threads"]
    session = ort.InferenceSession(
        model / "model.onnx", options, providers=["CPUExecutionProvider"]
    )
    folder = sample_run.directory / "samples" / "holdout"
    stored = next(folder.glob("*-int8-static-predictions.npz"))
    with np.load(stored) as file:
        predictions = file["predictions"]
    with np.load(folder / "targets.npz") as file:
        targets = file["targets"]
    images = np.concatenate(list(_holdout_images()))
    (logits,) = session.run(None, {"image": images})
    assert (logits.argmax(1) == predictions.argmax(1)).mean() > 0.998
    accuracy = entry(sample_run, "int8-static")["metrics"]["accuracy"]["value"]
    assert (predictions.argmax(1) == targets).mean() == pytest.approx(accuracy, abs=1e-9)


def _holdout_images() -> list[np.ndarray]:
    import importlib.util

    spec = importlib.util.spec_from_file_location("digits_resnet_data", SAMPLE / "data.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return [images for images, _ in module.holdout()]


def test_report_renders_the_same_bytes_again(sample_run: SampleRun) -> None:
    files = [sample_run.directory / "adr.md", *(sample_run.directory / "plots").iterdir()]
    before = {path: path.read_bytes() for path in files}
    for path in files:
        path.unlink()

    finished = mlopt(["report", str(sample_run.directory)], sample_run.directory)

    assert finished.code == 0, finished.err
    assert {path: path.read_bytes() for path in files} == before


def test_profile_times_the_model_of_a_run(sample_run: SampleRun) -> None:
    finished = mlopt(
        ["profile", str(sample_run.directory), "--launches", "2", "--rounds", "2", "--json"],
        sample_run.directory,
    )

    assert finished.code == 0, finished.err
    document = json.loads(finished.out)
    assert document["synthetic_inputs"] is True
    assert document["providers"][0]["workloads"][0]["p50_ms"]["value"] > 0


def test_dry_run_prints_the_plan_and_makes_nothing(tmp_path: Path) -> None:
    finished = mlopt(
        ["optimize", str(SAMPLE), "--dry-run", "--batch-size", "1", "--batch-size", "8"], tmp_path
    )

    assert finished.code == 0, finished.err
    for word in ("int8-static", "export_onnx", "holdout", "900", "batch-8", "p99 <= 50 ms"):
        assert word in finished.out
    assert list(tmp_path.iterdir()) == []


def test_a_provider_that_took_no_node_is_marked_and_not_chosen(
    sample_run: SampleRun, tmp_path: Path
) -> None:
    import onnxruntime

    if "AzureExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.fail("this test needs the Azure provider, which every onnxruntime for the CPU has")
    result = api.optimize(
        sample_run.project,
        out=tmp_path,
        recipes=["int8-static"],
        providers=["azure"],
        budget=["size<1MB"],
    )

    fallen = result.run.candidate("int8-static@azure")
    assert fallen.fell_back
    assert result.run.decision is not None
    assert result.run.decision.chosen is None
    assert result.exit_code == 3
    reasons = {r.name: r.reason for r in result.run.decision.rejected}
    assert "did not run wholly on azure" in reasons["int8-static@azure"]

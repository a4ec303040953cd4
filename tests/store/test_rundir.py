"""The directory of a run: unique, appended to, and read with errors that say what to do."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from mlopt.errors import ConfigError, RunError
from mlopt.store.rundir import RunDirectory
from mlopt.types.artifact import Artifact, FileEntry, Manifest
from mlopt.types.budget import BudgetLine
from mlopt.types.candidate import PlannedCandidate, Step
from mlopt.types.plan import Plan, Schedule
from mlopt.types.run import CandidateResult, Environment, Run
from mlopt.types.workload import Workload

NOW = datetime(2025, 3, 4, 5, 6, 7, tzinfo=UTC)
BASELINE = PlannedCandidate(
    name="fp32", role="baseline", recipe="fp32", provider="cpu", runner="onnxruntime"
)
INT8 = PlannedCandidate(
    name="int8",
    role="candidate",
    recipe="int8",
    provider="cpu",
    runner="onnxruntime",
    steps=(Step(transformation="int8_static", options={"per_channel": True}),),
)
PLAN = Plan(
    project="digits",
    command="mlopt optimize .",
    sources_sha256="1" * 64,
    model_sha256="2" * 64,
    data={},
    candidates=(BASELINE, INT8),
    budget=(BudgetLine.parse("p99 <= 5 ms"),),
    margins=(),
    workloads=(Workload(),),
    schedule=Schedule(),
    seed=0,
    proposer="fixed list",
    selection_rule="the fastest",
    predictions_per_day=None,
    allow_fallback=False,
    time_limit_s=None,
)
RUN = Run(
    mlopt_version="0",
    status="running",
    started_at="2025-03-04T05:06:07Z",
    plan=PLAN,
    plan_sha256="3" * 64,
    environment=Environment(
        cpu="a processor",
        cpu_flags=("avx2",),
        architecture="x86_64",
        cpus=2,
        cpus_on_host=8,
        memory_bytes=10**9,
        operating_system="Linux 6",
        python="3.11",
        libraries={},
        providers=("cpu",),
    ),
    candidates=(CandidateResult(plan=BASELINE), CandidateResult(plan=INT8)),
)


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path / "reports", "digits", NOW)


def test_the_name_is_the_project_and_the_time_in_utc_without_colons(tmp_path: Path) -> None:
    local = NOW.astimezone(timezone(timedelta(hours=9)))
    made = RunDirectory.create(tmp_path / "not" / "there" / "yet", "digits", local)
    assert made.path.name == "digits-20250304T050607Z"
    assert made.path.is_dir()


def test_a_model_in_a_run_is_ignored_by_git(directory: RunDirectory) -> None:
    assert (directory.path / ".gitignore").read_text() == "model/\n"


def test_a_second_run_in_the_same_second_gets_a_directory_of_its_own(tmp_path: Path) -> None:
    first = RunDirectory.create(tmp_path, "digits", NOW)
    first.write_plan(PLAN)
    second = RunDirectory.create(tmp_path, "digits", NOW)
    third = RunDirectory.create(tmp_path, "digits", NOW)
    assert len({first.path, second.path, third.path}) == 3
    assert first.read_plan() == PLAN
    assert not (second.path / "plan.json").exists()


def test_runs_that_start_at_once_get_directories_of_their_own(tmp_path: Path) -> None:
    barrier = threading.Barrier(8)
    made: list[Path] = []

    def start() -> None:
        barrier.wait()
        made.append(RunDirectory.create(tmp_path, "digits", NOW).path)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 8


def test_a_place_that_cannot_be_written_to_is_a_config_error_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match=r"cannot write .*--out"):
        RunDirectory.create(tmp_path / "file", "digits", NOW)


def test_plan_and_run_come_back_as_they_were(directory: RunDirectory) -> None:
    directory.write_plan(PLAN)
    directory.write_run(RUN)
    assert directory.read_plan() == PLAN
    assert directory.read_run() == RUN


def test_the_plans_hash_is_that_of_its_file(directory: RunDirectory) -> None:
    first = directory.write_plan(PLAN)
    assert directory.write_plan(PLAN) == first
    assert directory.write_plan(PLAN.model_copy(update={"seed": 1})) != first


def test_writing_a_run_again_replaces_it(directory: RunDirectory) -> None:
    directory.write_run(RUN)
    directory.write_run(RUN.model_copy(update={"status": "complete"}))
    assert directory.read_run().status == "complete"


def test_candidates_are_appended_one_a_line(directory: RunDirectory) -> None:
    lines = []
    for number, candidate in enumerate((BASELINE, INT8), start=1):
        directory.append_candidate(candidate)
        lines = (directory.path / "candidates.jsonl").read_text().splitlines()
        assert len(lines) == number
    assert [PlannedCandidate.model_validate_json(line) for line in lines] == [BASELINE, INT8]


def test_the_model_and_its_settings_are_copied_and_replace_older_ones(
    directory: RunDirectory, tmp_path: Path
) -> None:
    built = tmp_path / "artifact"
    built.mkdir()
    (built / "model.onnx").write_bytes(b"weights")
    manifest = Manifest(
        format="onnx",
        main="model.onnx",
        files={"model.onnx": FileEntry(sha256="0", size_bytes=7)},
        inputs=(),
        outputs=(),
        lineage=(),
        key="k",
    )
    (directory.path / "model").mkdir()
    (directory.path / "model" / "stale.onnx").write_text("old")
    directory.write_model(Artifact(directory=built, manifest=manifest), '{"threads": 2}')
    names = sorted(file.name for file in (directory.path / "model").iterdir())
    assert names == ["model.onnx", "session.json"]
    assert json.loads((directory.path / "model/session.json").read_text()) == {"threads": 2}


def test_a_directory_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not the directory of a run"):
        RunDirectory(tmp_path).read_run()
    with pytest.raises(RunError, match=r"no readable plan\.json"):
        RunDirectory(tmp_path).read_plan()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"{}"])
def test_a_damaged_run_is_refused(directory: RunDirectory, content: bytes) -> None:
    (directory.path / "run.json").write_bytes(content)
    (directory.path / "plan.json").write_bytes(content)
    with pytest.raises(RunError, match=r"run\.json is damaged"):
        directory.read_run()
    with pytest.raises(RunError, match=r"plan\.json"):
        directory.read_plan()


def test_a_damaged_value_is_named_by_its_place(directory: RunDirectory) -> None:
    content = RUN.model_dump(mode="json")
    content["environment"]["cpus"] = "many"
    (directory.path / "run.json").write_text(json.dumps(content))
    with pytest.raises(RunError, match=r"environment\.cpus"):
        directory.read_run()


@pytest.mark.parametrize("file", ["run.json", "plan.json"])
def test_a_file_of_a_newer_mlopt_is_refused_in_one_line(directory: RunDirectory, file: str) -> None:
    record = RUN if file == "run.json" else PLAN
    content = record.model_dump(mode="json") | {"schema_version": 99, "new_field": 1}
    (directory.path / file).write_text(json.dumps(content))
    with pytest.raises(RunError, match=r"schema version 99.*Upgrade mlopt") as caught:
        directory.read_run() if file == "run.json" else directory.read_plan()
    assert "\n" not in str(caught.value)

"""A stand-in for :mod:`mlopt.api`, and runs to show."""

from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest

import mlopt
from mlopt.cli.app import main
from mlopt.types.budget import BudgetLine
from mlopt.types.candidate import PlannedCandidate, Step
from mlopt.types.decision import Decision, Verdict
from mlopt.types.estimate import Estimate
from mlopt.types.plan import Margin, Plan, Schedule, SplitSummary
from mlopt.types.run import CandidateResult, Environment, Run
from mlopt.types.workload import Workload

EXPORT = Step(transformation="export_onnx")
QUANTIZE = Step(transformation="int8_static", options={"calibration": "minmax"})


class Row(NamedTuple):
    name: str
    p50: str
    p99: str
    ratio: str
    delta: str
    size: str
    verdict: str


ROWS = [
    Row("fp32 @ cpu", "1.23 (1.20 to 1.26)", "2.34 (2.3 to 2.5)", "1", "0", "2.8 MB", "PASS"),
    Row("int8 @ cpu", "0.51 (0.50 to 0.52)", "0.9 (0.8 to 1.0)", "0.42", "-0.1", "0.7 MB", "PASS"),
]


class Outcome(NamedTuple):
    """What ``api.optimize`` returns, as far as the command line looks at it."""

    run: Run
    run_dir: Path
    rows: list[Row]
    exit_code: int = 0
    sentence: str = "We ship int8 [minmax]: 2.4x faster at p50 than fp32."

    def document(self):
        return {"schema_version": 1, "status": self.run.status}


def planned(name, role, *steps):
    return PlannedCandidate(
        name=name, role=role, recipe=None, provider="cpu", runner="onnxruntime", steps=steps
    )


@pytest.fixture
def plan():
    return Plan(
        project="digits",
        command="mlopt optimize",
        sources_sha256="0",
        model_sha256="0",
        data={"holdout": SplitSummary(examples=900, sha256="0", duplicates=2)},
        candidates=(
            planned("eager", "reference"),
            planned("fp32", "baseline", EXPORT),
            planned("int8 [minmax]", "candidate", EXPORT, QUANTIZE),
        ),
        notes=("a note",),
        budget=(BudgetLine.parse("p99 <= 5 ms"),),
        margins=(
            Margin(metric="accuracy", higher_is_better=True, max_drop=0.001, provable=0.0043),
            Margin(metric="f1", higher_is_better=True, max_drop=None),
        ),
        workloads=(Workload(),),
        schedule=Schedule(),
        seed=7,
        proposer="fixed list",
        selection_rule="the fastest of those that pass",
        predictions_per_day=None,
        allow_fallback=False,
        time_limit_s=90.0,
    )


@pytest.fixture
def environment():
    return Environment(
        cpu="A processor",
        cpu_flags=("avx2",),
        architecture="x86_64",
        cpus=2,
        cpus_on_host=64,
        memory_bytes=8 * 10**9,
        operating_system="Linux 6",
        python="3.11.7",
        libraries={"torch": "2.9.0"},
        providers=("cpu",),
    )


@pytest.fixture
def outcome(plan, environment, tmp_path):
    verdict = Verdict(
        line="p99 <= 5 ms",
        outcome="PASS",
        observed=Estimate(value=0.9, low=0.8, high=1.0),
        unit="ms",
    )
    run = Run(
        mlopt_version="0",
        status="complete",
        started_at="2024-01-01T00:00:00Z",
        plan=plan,
        plan_sha256="0",
        environment=environment,
        candidates=tuple(CandidateResult(plan=candidate) for candidate in plan.candidates),
        decision=Decision(
            chosen="int8 [minmax]",
            outcome="PASS",
            reason="int8 [minmax] is the fastest that keeps the budget.",
            verdicts=(verdict,),
        ),
    )
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "adr.md").write_text("")
    return Outcome(run, tmp_path / "run", ROWS)


@pytest.fixture
def fake_api(monkeypatch):
    """An empty API; a test gives it the functions that it calls."""
    api = SimpleNamespace()
    monkeypatch.setattr(mlopt, "api", api, raising=False)
    return api


@pytest.fixture
def mlopt_command(capsys, monkeypatch):
    """Runs a command line in this process: exit code, stdout, stderr."""
    for variable in ("MLOPT_DEBUG", "MLOPT_SEED", "MLOPT_QUIET", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(variable, raising=False)

    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return run

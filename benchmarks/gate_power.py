"""How often a gate is right: 100 undisturbed gates of a model against itself, and of a slower copy.

The model is the network of ``digits_resnet`` (about 1 ms); the copy has a second head, with as much
to do as makes it 5% slower on this machine by a short measurement, and its true ratio comes from a
long run of its own. The two kinds of gate take turns, so that a machine
that changes its mood in between does it to both. What is repeated is the timing of a gate, which
alone decides about speed; a few whole gates, answers included, say what one takes from start to end.
A gate is disturbed where a hypervisor took more of the processors than :data:`QUIET` while it ran: it
stays in the table, and another one is run.

    python benchmarks/gate_power.py WORK [--gates 100]

Results are appended to ``WORK/gates.jsonl``; started again on the same directory, the script goes
on where it was. It prints the table and writes it to ``benchmarks/gate_power.md``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from graphs import export_sample, sample_data, with_more_work
from scipy import stats as distributions

from mlopt import api
from mlopt.machine import usable_cpus
from mlopt.machine.environment import describe_environment
from mlopt.machine.vitals import read_vitals
from mlopt.pipeline.contest import Side, Terms, contest
from mlopt.runners import RUNNERS
from mlopt.types.candidate import Stage
from mlopt.types.measurement import LaunchVitals
from mlopt.types.plan import Schedule
from mlopt.types.workload import Workload
from mlopt.workers import Limits, run_task

EXAMPLES = 300
SLOWER = 0.05
"""By how much more time the copy takes, as near as a short measurement tells."""

FIRST_ROWS, TRIES, SHORT = 60, 2, 6
"""Of the second head: the work that is tried first, how often, and by how many timings it is judged."""

TOLERANCE = 0.02
LIMIT_S = 20.0
TIMING_S = 18.0
"""What a gate's timing may take; the worker processes of a launch under way then still end."""

QUIET = 0.02
"""Of the processors' busy time, what a hypervisor may take from a machine that counts as quiet."""

MOST = 2
"""How many times as many gates are run as were asked for, where the machine is disturbed."""

PROBE_S, PATIENCE_S = 1.0, 300.0
"""How long all processors are kept busy to see whether the machine is quiet, and how long for it to be."""

WHOLE, WHOLE_S = 5, 13.0
"""Whole gates of each kind, and what timing may take in them; the rest loads and scores."""

LONG_S, LONG_LAUNCHES = 300.0, 60
KINDS = {"itself": "model.onnx", "slower": "slower.onnx"}
RIGHT = {"itself": "PASS", "slower": "FAIL"}
TABLE = Path(__file__).with_suffix(".md")


def main() -> None:
    """Runs what is not done yet, then writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--gates", type=int, default=100)
    arguments = parser.parse_args()
    work: Path = arguments.work
    work.mkdir(parents=True, exist_ok=True)
    _prepare(work)
    done = list(_read(work / "gates.jsonl"))
    for number in range(MOST * arguments.gates):
        for kind in KINDS:
            if sum(_undisturbed(one, kind) for one in done) < arguments.gates:
                _once(done, work, kind, number, "timing", _timing)
    for number in range(min(WHOLE, arguments.gates)):
        for kind in KINDS:
            _once(done, work, kind, number, "whole", _gate)
    truth = _truth(work)
    table = _table(done, truth)
    TABLE.write_text(table, encoding="utf-8")
    print(table)


def _prepare(work: Path) -> None:
    """Models, data and a project, once."""
    if (work / "mlopt.yaml").exists():
        return
    export_sample(work / "model.onnx")
    sample_data(work / "all.npz", 2 * EXAMPLES)
    with np.load(work / "all.npz") as arrays:
        for number, split in enumerate(("selection", "holdout")):
            rows = slice(number * EXAMPLES, (number + 1) * EXAMPLES)
            np.savez(work / f"{split}.npz", **{name: arrays[name][rows] for name in arrays.files})
    _make_slower(work)
    project = {
        "name": "gate_power",
        "model": {"onnx": "model.onnx"},
        "data": {split: {"npz": f"{split}.npz"} for split in ("selection", "holdout")},
        "metrics": [{"name": "accuracy", "max_drop": 0.02}],
        "reference": "model.onnx",
    }
    (work / "mlopt.yaml").write_text(yaml.safe_dump(project, sort_keys=False), encoding="utf-8")


def _make_slower(work: Path) -> None:
    """The copy, with as much more to do as makes it slower by :data:`SLOWER`."""
    rows = FIRST_ROWS
    for _ in range(TRIES):
        with_more_work(work / KINDS["itself"], work / KINDS["slower"], rows)
        ratio = float(np.median([_timing(work, "slower", i)["ratio"][0] for i in range(SHORT)]))
        print(f"a head with {rows} rows: ratio {ratio:.4f}", flush=True)
        rows = round(rows * min(max(SLOWER / max(ratio - 1, 1e-9), 0.5), 2.0))
        for made in ("artifact-slower", "inputs-slower"):
            shutil.rmtree(work / made)
    with_more_work(work / KINDS["itself"], work / KINDS["slower"], rows)


def _once(
    done: list[dict[str, Any]],
    work: Path,
    kind: str,
    number: int,
    part: str,
    run: Callable[[Path, str, int], dict[str, Any]],
) -> None:
    """Runs one gate, unless an earlier start of the script did."""
    name = {"kind": kind, "number": number, "part": part}
    if any(name.items() <= one.items() for one in done):
        return
    _await_quiet()
    start = time.monotonic()
    found = run(work, kind, number)
    one = name | found | {"seconds": round(time.monotonic() - start, 2)}
    done.append(one)
    with (work / "gates.jsonl").open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(one) + "\n")
    print(json.dumps(one), flush=True)


def _undisturbed(gate: dict[str, Any], kind: str) -> bool:
    """Whether a gate is a timing of this kind during which the machine was ours."""
    return (gate["part"], gate["kind"]) == ("timing", kind) and (gate["steal"] or 0.0) < QUIET


def _await_quiet() -> None:
    """Before a gate, waits for a quiet moment, as one would who has a choice of machines.

    What a hypervisor takes shows only while all processors are busy. A gate that has begun counts,
    whatever happens while it runs.
    """
    spin = f"import time\nend = time.monotonic() + {PROBE_S}\nwhile time.monotonic() < end: pass"
    patience = time.monotonic() + PATIENCE_S
    while time.monotonic() < patience:
        before = read_vitals()
        spinning = [subprocess.Popen([sys.executable, "-c", spin]) for _ in range(usable_cpus())]
        for one in spinning:
            one.wait()
        if (_stolen([LaunchVitals(before=before, after=read_vitals())]) or 0.0) < QUIET:
            return
        time.sleep(PROBE_S)


def _timing(work: Path, kind: str, number: int) -> dict[str, Any]:
    """The timing of a gate: the model, or its slower copy, against the model."""
    terms = Terms(
        snapshot=work / "inputs",
        project_dir=work,
        workload=Workload(),
        schedule=Schedule(),
        seed=number,
        limits=Limits(60.0, None),
        max_seconds=TIMING_S,
        tolerance=TOLERANCE,
    )
    with tempfile.TemporaryDirectory() as place:
        found = contest(
            _side(work, "itself"), _side(work, kind), terms, Path(place), lambda event: None
        )
    return {
        "outcome": found.outcome,
        "launches": found.launches,
        "looks": found.looks,
        "ratio": [found.p50_ratio.value, found.p50_ratio.low, found.p50_ratio.high],
        "steal": _stolen(found.b.vitals),
    }


def _stolen(launches: Sequence[LaunchVitals]) -> float | None:
    """The share of busy time that a hypervisor took; None where it cannot be read."""
    steal = sum((one.after.steal_s or 0.0) - (one.before.steal_s or 0.0) for one in launches)
    busy = sum((one.after.busy_s or 0.0) - (one.before.busy_s or 0.0) for one in launches)
    return None if busy + steal == 0 else steal / (busy + steal)


def _side(work: Path, kind: str) -> Side:
    """A model, made an artifact once."""
    directory = work / f"artifact-{kind}"
    if not directory.exists():
        directory.mkdir()
        inputs = work / "inputs"
        arguments = {
            "onnx": str(work / KINDS[kind]),
            "workspace": str(directory),
            "snapshot": str(inputs if not inputs.exists() else work / f"inputs-{kind}"),
            "data": str(work / "holdout.npz"),
            "seed": 0,
        }
        run_task("mlopt.pipeline.tasks.adopt:adopt", arguments)
    settings = RUNNERS["onnxruntime"]().resolve(usable_cpus()).model_dump(mode="json")
    stage = Stage(artifact=str(directory), runner="onnxruntime", provider="cpu", settings=settings)
    return Side(kind, stage, 0)


def _gate(work: Path, kind: str, number: int) -> dict[str, Any]:
    result = api.gate(
        work,
        candidate=str(work / KINDS[kind]),
        tolerance=TOLERANCE,
        max_seconds=WHOLE_S,
        seed=number,
        github=False,
    )
    timing = result.report.timing
    assert timing is not None, "both run"
    return {
        "outcome": result.report.outcome,
        "launches": timing.launches,
        "looks": timing.looks,
        "ratio": [timing.p50_ratio.value, timing.p50_ratio.low, timing.p50_ratio.high],
    }


def _truth(work: Path) -> dict[str, Any]:
    """The true ratio of the copy, from a long run; stored, since it takes minutes."""
    file = work / "truth.json"
    if not file.exists():
        found = api.compare(
            str(work / KINDS["itself"]),
            str(work / KINDS["slower"]),
            data=work / "holdout.npz",
            launches=LONG_LAUNCHES,
            max_seconds=LONG_S,
        ).document()
        keys = ("p50_ratio", "p50_ratio_ci", "launches", "rounds", "samples")
        file.write_text(json.dumps({key: found[key] for key in keys}), encoding="utf-8")
    truth: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return truth


def _table(done: list[dict[str, Any]], truth: dict[str, Any]) -> str:
    machine = describe_environment(())
    low, high = truth["p50_ratio_ci"]
    whole = [one for one in done if one["part"] == "whole"]
    lines = [
        "# How often a gate is right",
        "",
        f"`python benchmarks/gate_power.py`: gates with a tolerance of {TOLERANCE:.0%} on the p50, at most "
        f"{LIMIT_S:.0f} s each, on {machine.cpus} of the processors of an {machine.cpu} "
        f"(onnxruntime {machine.libraries.get('onnxruntime', 'unknown')}). The true ratio of the slower "
        f"copy, from a run of {truth['launches']} launches and {truth['samples']} samples, is "
        f"{truth['p50_ratio']:.4f} ({low:.4f} to {high:.4f}). Of {len(whole)} whole gates, answers "
        f"included, the longest took {max(one['seconds'] for one in whole):.1f} s. Each gate began at a moment "
        f"when a hypervisor took less than {QUIET:.0%} of {PROBE_S:g} s of work on all processors, or after "
        f"{PATIENCE_S:g} s of waiting for one; what it took later is in the rows' names.",
        "",
        "| against | gates | PASS | FAIL | INCONCLUSIVE | right, with 95% interval | seconds: median, most "
        "| launches: median |",
        "|---|---:|---:|---:|---:|---|---:|---:|",
    ]
    rows = [(kind, right, quiet) for quiet in (True, False) for kind, right in RIGHT.items()]
    for kind, right, quiet in rows:
        gates = [
            one
            for one in done
            if (one["part"], one["kind"]) == ("timing", kind)
            and (not quiet or _undisturbed(one, kind))
        ]
        if not gates:
            continue
        name = f"{kind}, while less than {QUIET:.0%} was stolen" if quiet else f"{kind}, all"
        count = {
            outcome: sum(one["outcome"] == outcome for one in gates)
            for outcome in ("PASS", "FAIL", "INCONCLUSIVE")
        }
        interval = distributions.binomtest(count[right], len(gates)).proportion_ci(method="exact")
        seconds = [one["seconds"] for one in gates]
        lines.append(
            f"| {name} | {len(gates)} | {count['PASS']} | {count['FAIL']} | {count['INCONCLUSIVE']} | "
            f"{right} {count[right] / len(gates):.0%} ({interval.low:.0%} to {interval.high:.0%}) | "
            f"{np.median(seconds):.1f}, {max(seconds):.1f} | {np.median([g['launches'] for g in gates]):.0f} |"
        )
    return "\n".join(lines) + "\n"


def _read(file: Path) -> Iterator[dict[str, Any]]:
    """What earlier starts of the script have done; a line that a kill tore is done again."""
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            continue


if __name__ == "__main__":
    main()

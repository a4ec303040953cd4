"""What was named becomes ready to run: sealed, and known to take the same inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mlopt.errors import ConfigError, ModelError, WorkerError
from mlopt.machine import usable_cpus
from mlopt.pipeline.reference import EITHER, Entrant
from mlopt.runners import shown_settings
from mlopt.types.events import Event, OnEvent, Phase
from mlopt.workers import Limits, run_task

ADMIT = "mlopt.pipeline.tasks.admit:admit"
THREADS = ("intra_op_threads", "threads")


def admit(
    entrants: Sequence[Entrant],
    *,
    snapshot: Path,
    data: Path | None,
    seed: int,
    limits: Limits,
    on_event: OnEvent,
) -> list[int | None]:
    """Makes artifacts of bare files, and inputs where there are none yet.

    Args:
        entrants: All that will be run side by side.
        snapshot: Directory of the inputs; written when it does not exist.
        data: An ``.npz`` file to write it from; None: synthetic inputs.
        seed: For synthetic inputs.
        limits: Of the worker.
        on_event: Called with what is going on.

    Returns:
        For each entrant, the batch size that it insists on, or None.

    Raises:
        ConfigError: There is no file ``data``.
        ModelError: A file is damaged, or they do not take the same inputs.
        DataError: The data does not fit the inputs.
    """
    if data is not None and not data.is_file():
        raise ConfigError(f"there is no file '{data}'. Check the path given to --data.")
    arguments = {
        "entrants": [
            {
                "name": one.name,
                "onnx": None if one.onnx is None else str(one.onnx),
                "directory": str(one.directory),
            }
            for one in entrants
        ],
        "snapshot": str(snapshot),
        "data": None if data is None else str(data.resolve()),
        "seed": seed,
    }
    try:
        answer = run_task(ADMIT, arguments, limits, teller(on_event, "check"))
    except WorkerError as e:
        names = " and ".join(f"'{one.name}'" for one in entrants)
        raise ModelError(f"the process that read {names} failed: {e}") from e
    fixed: list[int | None] = answer["fixed_batches"]
    return fixed


def teller(
    on_event: OnEvent, phase: Phase, prefix: str = ""
) -> Callable[[str, float | None], None]:
    """A callback for a worker: what it says becomes an event of ``phase``."""
    return lambda message, done: on_event(
        Event(phase=phase, message=f"{prefix}{message}", done=done)
    )


def refuse_batch(entrant: Entrant, fixed: int | None, batch_size: int, option: str) -> None:
    """Checks that an entrant takes batches of ``batch_size``.

    Args:
        entrant: Whose.
        fixed: The batch size that it insists on, or None.
        batch_size: That it will be given.
        option: Where the user says how large batches are.

    Raises:
        ConfigError: It takes another size only.
    """
    if fixed not in {None, batch_size}:
        raise ConfigError(
            f"'{entrant.name}' takes batches of exactly {fixed}: set {option} to {fixed}."
        )


def setting_warnings(first: Entrant, second: Entrant) -> list[str]:
    """Where two entrants are run in ways that may themselves explain a difference."""
    found = []
    if _differ(first, second):
        found.append(
            f"'{first.name}' runs with {_settings(first)}, '{second.name}' with {_settings(second)}: "
            "a difference may come from that"
        )
    for one in (first, second):
        found += runner_warnings(one)
        threads = next((one.settings[key] for key in THREADS if key in one.settings), None)
        if isinstance(threads, int) and threads > usable_cpus():
            found.append(
                f"'{one.name}' was tuned to {threads} threads, and this machine lends "
                f"{usable_cpus()} processors: it may be slower here than where it will run"
            )
    return found


def runner_warnings(entrant: Entrant) -> list[str]:
    """Where what runs an entrant on this machine is not what it ships with."""
    if entrant.ships_with is None:
        return []
    return [
        f"'{entrant.name}' ships with the runner '{entrant.ships_with}', which cannot run on "
        f"{entrant.provider} on this machine: '{entrant.runner}' runs it here"
    ]


def warn_of_runner(entrant: Entrant, on_event: OnEvent) -> None:
    """Tells whoever watches of :func:`runner_warnings`."""
    for words in runner_warnings(entrant):
        on_event(Event(phase="check", message=words, level="warning"))


def _differ(first: Entrant, second: Entrant) -> bool:
    """Whether settings differ that both have, or what runs them on one provider."""
    if first.runner == second.runner:
        return _shown(first) != _shown(second)
    if not {first.runner, second.runner} <= EITHER:
        return False
    if first.provider == second.provider:
        return True
    one, other = first.settings, second.settings
    return any(one[name] != other[name] for name in one.keys() & other.keys() & set(THREADS))


def _settings(entrant: Entrant) -> str:
    known = ", ".join(f"{key}={value}" for key, value in _shown(entrant).items())
    return f"{entrant.runner} ({known})" if known else entrant.runner


def _shown(entrant: Entrant) -> dict[str, Any]:
    return shown_settings(entrant.runner, entrant.settings)

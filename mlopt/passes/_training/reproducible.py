"""Training that gives the same bits again: threads, algorithms and randomness are fixed."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

from mlopt.workers.usercode import seed_randomness


@contextmanager
def reproducible(threads: int) -> Iterator[None]:
    """Fixes threads and algorithms inside; leaves generators and settings as they were before.

    What follows is so the same whether all epochs ran inside, or some of them in an earlier process.

    Args:
        threads: How sums are cut between threads changes how they round.
    """
    import numpy as np
    import torch

    before = torch.get_num_threads()
    strict = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    exact = torch.backends.mkldnn.deterministic
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    torch.backends.mkldnn.deterministic = True  # type: ignore[assignment]  # a property of the module
    try:
        yield
    finally:
        torch.backends.mkldnn.deterministic = exact
        torch.use_deterministic_algorithms(strict, warn_only=warn_only)
        torch.set_num_threads(before)
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


def seed_part(seed: int, part: str) -> None:
    """Seeds all generators for a part of a training, so that no state of theirs need survive a kill.

    Args:
        seed: Of the pass.
        part: Which: ``epoch 3``.
    """
    digest = hashlib.sha256(f"{seed}, {part}".encode()).digest()
    seed_randomness(int.from_bytes(digest[:7], "big"))

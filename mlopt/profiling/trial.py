"""A trial: candidates timed side by side, in launches of shuffled, interleaved rounds.

Randomized multiple interleaved trials (Abedi & Brecht, ICPE 2017): every round visits every
candidate once, in a freshly shuffled order, so that the machine's drift hits all of them alike.
Workers are launched anew several times, since the layout of a process's memory alone shifts its
latency by about 1% (Kalibera & Jones, ISMM 2013).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from mlopt.machine.vitals import read_vitals
from mlopt.profiling.launch import Contestant, Launch, Observed, Setting
from mlopt.profiling.stopping import Referee, Ruling
from mlopt.types.measurement import LaunchVitals

SCREENED = 6
"""With more candidates than these the first launch has half of the time, once they have loaded: many
leave after it."""

Progress = Callable[[str, float, float | None], None]


class TrialEnd(NamedTuple):
    """What a trial has seen, and why it ended.

    Attributes:
        launches: How many there have been.
        rounds: Over all launches.
    """

    observed: dict[str, Observed]
    stopped_because: str
    launches: int
    rounds: int


def run_trial(
    contestants: Sequence[Contestant],
    setting: Setting,
    progress: Progress,
    *,
    referee: Referee | None = None,
    done: dict[str, Observed] | None = None,
    first_launch: int = 0,
    after_launch: Callable[[dict[str, Observed]], None] | None = None,
) -> TrialEnd:
    """Times ``contestants`` side by side.

    Args:
        contestants: All of one heat; one that fails falls out, and the others go on.
        setting: How often, how long, on what.
        progress: Called with a few words, the share done and the seconds left.
        referee: Says after each launch whether to go on, and who leaves; default: all launches
            that the schedule allows.
        done: What earlier launches of the same trial have seen, perhaps of others.
        first_launch: Number of the launch to begin with.
        after_launch: Called after each launch, to store what has been seen.
    """
    observed = {} if done is None else done
    for one in contestants:
        observed.setdefault(one.name, Observed())
    trial = _Trial(contestants, setting, progress, observed, referee)
    launch = first_launch
    stopped = trial.ruling(launch) if launch or setting.expired() else None
    while stopped is None:
        trial.launch(launch)
        launch += 1
        stopped = trial.ruling(launch)
        if after_launch is not None:
            after_launch(observed)
    return TrialEnd(observed, stopped, *trial.extent())


class _Trial:
    """A trial under way."""

    def __init__(
        self,
        contestants: Sequence[Contestant],
        setting: Setting,
        progress: Progress,
        observed: dict[str, Observed],
        referee: Referee | None,
    ) -> None:
        self.contestants = contestants
        self.setting = setting
        self.tell = progress
        self.observed = observed
        self.referee = referee
        self.counts: dict[tuple[str, int], int] = {}
        self.start = time.monotonic()
        self.begun = 0
        self.rounds = setting.schedule.rounds
        self.launch_s = self.uncounted_s = 0.0
        self.cut = False
        self.words = ""

    def launch(self, number: int) -> None:
        """One life of the worker processes."""
        began = time.monotonic()
        alive = [c for c in self.contestants if self.observed[c.name].races]
        self.begun += 1
        with ExitStack() as stack:
            heat = Launch(number, self.setting.while_loading(), self.observed, self.counts, stack)
            heat.open(alive, self._tell)
            self.uncounted_s = 0.0 if self.setting.loading_counts else time.monotonic() - began
            if self.begun > 1:
                self.setting = self.setting.later(self.uncounted_s)
            heat.setting = self.setting = self.setting.once_loaded()
            if self.setting.deadline is not None and number < self.setting.schedule.launches:
                self.rounds = self._affordable_rounds(began, number, heat)
                self.cut |= self.rounds < self.setting.schedule.rounds
            before = read_vitals()
            for i in range(self.rounds):
                if self.setting.expired() or not heat.workers:
                    break
                heat.round(i)
                self._tell(number, i + 1, f"round {i + 1} of {self.rounds}")
            vitals = LaunchVitals(before=before, after=read_vitals())
            for name in heat.workers:
                self.observed[name].vitals.append(vitals)
            heat.finish()
        self.launch_s = time.monotonic() - began

    def ruling(self, launches: int) -> str | None:
        """Why the trial is over after so many launches; None: it goes on."""
        ours = {c.name: self.observed[c.name] for c in self.contestants}
        racing = {n: one.samples for n, one in ours.items() if one.races}
        if not racing:
            return f"no candidate was left after {_count(launches, 'launch')}"
        ruling = Ruling()
        if self.referee is not None:
            ruling = self.referee.after_launch(racing, launches)
            self.words = ruling.words
            for name, reason in ruling.leaving.items():
                self.observed[name].left_because = reason
        schedule = self.setting.schedule
        done, rounds = self.extent()
        so_far = f"{_count(done, 'launch')}, {_count(rounds, 'round')}"
        over = launches >= schedule.launches and self.referee is None
        if ruling.stop is not None:
            return ruling.stop + (f" (time allowed {so_far})" if self.cut else "")
        if self.setting.expired() or self._too_late_for_another(launches) or (over and self.cut):
            return f"the time limit: {so_far}" + (f"; {self.words}" if self.words else "")
        if over:
            return (
                f"the planned {_count(done, 'launch')} with {schedule.rounds} rounds each are done"
            )
        return None

    def extent(self) -> tuple[int, int]:
        """Launches and rounds that anybody has samples of."""
        blocks = {
            (launch, number)
            for one in self.observed.values()
            for samples in one.samples.values()
            for launch, number, _ in samples.blocks.tolist()
        }
        return len({launch for launch, _ in blocks}), len(blocks)

    def _too_late_for_another(self, launches: int) -> bool:
        """Whether a launch beyond the least number would not end before the deadline."""
        if self.setting.deadline is None or launches < self.setting.schedule.launches:
            return False
        end = time.monotonic() + self.launch_s
        moment = self.setting.moment
        too_late = end - self.uncounted_s > self.setting.deadline or (
            moment is not None and end > moment
        )
        return self.referee is not None and too_late

    def _affordable_rounds(self, began: float, launch: int, heat: Launch) -> int:
        """Rounds for this launch so that all launches that are planned fit before the deadline.

        Few launches with many rounds say less than many launches with few, so rounds give way.
        """
        assert self.setting.deadline is not None
        opened = time.monotonic()
        launches = self.setting.schedule.launches - launch
        each = (self.setting.deadline - began) / launches - (opened - began)
        if not self.setting.loading_counts:
            each, moment = (self.setting.deadline - opened) / launches, self.setting.moment
            if moment is not None:
                each = min(each, (moment - began) / launches - (opened - began))
        if self.begun == 1 and self.referee is not None and len(heat.workers) > SCREENED:
            rest = self.setting.deadline - opened
            # What is left for a second launch must be more than its loading may take.
            each = max(each, rest / 2 if opened - began < rest / 2 else rest)
        affordable = int(each / max(heat.round_s, 1e-6))
        least, most = self.setting.least_rounds, self.setting.schedule.rounds
        return min(most, max(least, affordable))

    def _tell(self, launch: int, rounds: int, what: str) -> None:
        """Says where the trial is, how well things are known, and how long it will last."""
        schedule = self.setting.schedule
        most = schedule.launches if self.referee is None else schedule.most_launches
        words = (
            f"launch {launch + 1} of {'at most ' if most > schedule.launches else ''}{most}, {what}"
        )
        words += f"; {self.words}" if self.words else ""
        done = launch + rounds / self.rounds
        here = done - (launch + 1 - self.begun)
        elapsed = time.monotonic() - self.start
        share = min(1.0, done / most)
        left = None if here <= 0 else self.setting.left_s(elapsed / here * max(0.0, most - done))
        self.tell(words, share, left)


def _count(number: int, what: str) -> str:
    plural = f"{what}es" if what.endswith("ch") else f"{what}s"
    return f"{number} {what if number == 1 else plural}"

"""The training loop: each epoch is a function of what the one before left on disk."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from mlopt.errors import BuildError
from mlopt.passes._training import checkpoint as checkpoints
from mlopt.passes._training.checkpoint import Checkpoint, state_of
from mlopt.passes._training.course import Course
from mlopt.passes._training.forward import Respondent
from mlopt.passes._training.history import EpochResult, History, best_epoch, out_of_patience
from mlopt.passes._training.optimizer import make_optimizer, rate_factor
from mlopt.passes._training.options import TrainingOptions
from mlopt.passes._training.progress import Progress
from mlopt.passes._training.reproducible import reproducible, seed_part
from mlopt.passes._training.teacher import Teacher
from mlopt.store.hashing import sha256_json
from mlopt.types.passes import PassContext
from mlopt.workers.usercode import describe

if TYPE_CHECKING:
    import numpy as np
    import torch

    Array = np.ndarray[Any, Any]


class Phase(NamedTuple):
    """Which part of a pass a training is, where it is not the whole.

    Attributes:
        name: Of its checkpoint: no two of a pass have the same.
        said: Before each message.
        start: Share of the pass that is done when it starts.
        end: Share that is done when it ends.
    """

    name: str = "training"
    said: str = ""
    start: float = 0.0
    end: float = 1.0


def train(
    module: torch.nn.Module,
    context: PassContext,
    options: TrainingOptions,
    *,
    outputs: tuple[str, ...],
    fixed_batch: int | None = None,
    teacher: Teacher | None = None,
    phase: Phase = Phase(),  # noqa: B008  # immutable
) -> History:
    """Trains ``module`` in place on the training split, and leaves it as it was best.

    A validation part is set aside. What is kept is the epoch, or the model as it came in, whose
    deciding metric is best there; among equal ones, that with the lowest validation loss. With the
    same module, data, options, seed and threads it ends in the same bits, whether it was killed in
    between and started again or not; nothing after it depends on which.

    Args:
        module: Ends in evaluation mode.
        context: Gives data, seed, metric, and the directory for the checkpoint.
        options: How long, how fast.
        outputs: Names of the module's outputs, in their order.
        fixed_batch: The batch size that the module insists on; None when it is dynamic.
        teacher: To learn from beside, or instead of, the targets.
        phase: Where this is one of several trainings of a pass.

    Raises:
        BuildError: It cannot be trained; the message says why.
    """
    settled = options.model_copy(update=options.choices())
    assert isinstance(settled.threads, int)
    student = Respondent(module, outputs, context.training.task, fixed_batch, context.project_dir)
    with reproducible(settled.threads):
        return _Loop(student, context, settled, teacher, phase).run()


class _Loop:
    """One call of :func:`train`: what changes from epoch to epoch, and goes into the checkpoint."""

    def __init__(
        self,
        student: Respondent,
        context: PassContext,
        options: TrainingOptions,
        teacher: Teacher | None,
        phase: Phase,
    ) -> None:
        self._module, self._context = student.module, context
        self._options, self._phase = options, phase
        self._rate = float(options.learning_rate)
        self._higher = context.training.higher_is_better
        self._optimizer = make_optimizer(student.module, options)
        self._identity = _identity(student, context, options, teacher)
        self._file = context.checkpoints / f"{phase.name}.safetensors"
        self._course = Course(student, teacher, context, options, self._say)
        self._progress = Progress(
            self._say, options.epochs, self._course.steps, context.training.metric
        )
        self._results: list[EpochResult] = []
        self._best: dict[str, torch.Tensor] = {}
        self._seconds = 0.0

    def run(self) -> History:
        """All epochs that are left; then the best weights are put back."""
        if self._course.units is not None:
            self._course.units.enter()
        if not self._restored():
            self._results = [self._result(0, None, None)]
            self._best = state_of(self._module)
        while self._goes_on():
            started = time.monotonic()
            result = self._epoch(self._results[-1].epoch + 1)
            self._results.append(result)
            if best_epoch(self._results, self._higher) == result.epoch:
                self._best = state_of(self._module)
            self._seconds += time.monotonic() - started
            self._save()
            self._progress.epoch(result)
        checkpoints.put_state(self._module, self._best)
        if self._course.units is not None:
            self._course.units.leave()
        self._module.eval()
        return self._history()

    def _goes_on(self) -> bool:
        trained = self._results[1:]
        return len(trained) < self._options.epochs and not out_of_patience(
            trained, self._higher, self._options.patience
        )

    def _epoch(self, epoch: int) -> EpochResult:
        """Sees every example of the training part once."""
        self._course.prepare(epoch)
        seed_part(self._context.seed, f"epoch {epoch}")
        self._module.train()
        total, seen = 0.0, 0
        for step, rows in enumerate(self._course.batches()):
            loss = self._step(rows, (epoch - 1) * self._course.steps + step)
            if not math.isfinite(loss):
                raise BuildError(self._diverged(epoch, loss))
            total += loss * len(rows)
            seen += len(rows)
            self._progress.step(epoch, step + 1, total / seen)
        return self._result(epoch, total / seen, self._optimizer.param_groups[0]["lr"])

    def _step(self, rows: Array, step: int) -> float:
        """One step of the optimizer; returns the loss before it."""
        import torch

        steps = self._options.epochs * self._course.steps
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate * rate_factor(step, steps, self._options)
        self._optimizer.zero_grad()
        loss = self._course.loss(rows)
        try:
            loss.backward()  # type: ignore[no-untyped-call]
        except RuntimeError as e:
            raise BuildError(
                f"the model cannot be trained: {describe(e, self._context.project_dir)}"
            ) from e
        if self._options.clip is not None:
            torch.nn.utils.clip_grad_norm_(self._module.parameters(), self._options.clip)
        self._optimizer.step()
        return float(loss.detach())

    def _result(self, epoch: int, loss: float | None, rate: float | None) -> EpochResult:
        found = self._course.validate()
        return EpochResult(
            epoch=epoch,
            loss=loss,
            validation_loss=found.loss,
            validation_score=found.score,
            learning_rate=rate,
        )

    def _diverged(self, epoch: int, loss: float) -> str:
        clip = "" if self._options.clip is not None else ", or set 'clip' to 1"
        return (
            f"the loss became {loss} in epoch {epoch} of {self._options.epochs}, at a learning rate "
            f"of {self._rate:g}: lower 'learning_rate', by a factor of 10 say{clip}"
        )

    def _save(self) -> None:
        best = best_epoch(self._results, self._higher)
        kept = {} if best == self._results[-1].epoch else self._best  # else it is the model's
        tensors = {
            **checkpoints.under("model", state_of(self._module)),
            **checkpoints.under("optimizer", checkpoints.optimizer_state(self._optimizer)),
            **checkpoints.under("best", kept),
        }
        notes = {
            "results": [r.model_dump(mode="json") for r in self._results],
            "seconds": self._seconds,
        }
        checkpoints.write_checkpoint(self._file, Checkpoint(tensors, notes), self._identity)

    def _restored(self) -> bool:
        """Takes up what an earlier process left; False where there is nothing of use."""
        found = checkpoints.read_checkpoint(self._file, self._identity)
        if isinstance(found, str):
            self._say(found)
        if not isinstance(found, Checkpoint):
            return False
        checkpoints.put_state(self._module, checkpoints.within("model", found.tensors))
        checkpoints.put_optimizer_state(
            self._optimizer, checkpoints.within("optimizer", found.tensors)
        )
        self._best = checkpoints.within("best", found.tensors) or state_of(self._module)
        self._results = [EpochResult.model_validate(r) for r in found.notes["results"]]
        self._seconds = found.notes["seconds"]
        self._progress.resume(self._results[-1])
        return True

    def _history(self) -> History:
        parts = self._course.material.parts
        return History(
            start=self._results[0],
            epochs=tuple(self._results[1:]),
            best_epoch=best_epoch(self._results, self._higher),
            stopped_early=self._results[-1].epoch < self._options.epochs,
            metric=self._context.training.metric,
            examples=len(parts.training),
            validation_examples=len(parts.validation),
            seconds=round(self._seconds, 3),
            teacher_score=self._course.teacher_score(),
        )

    def _say(self, message: str, done: float = 0.0) -> None:
        phase = self._phase
        share = phase.start + done * (phase.end - phase.start)
        self._context.emit(f"{phase.said}{message}", share)


def _identity(
    student: Respondent, context: PassContext, options: TrainingOptions, teacher: Teacher | None
) -> str:
    """A hash over what shapes a training, its first weights included."""
    return sha256_json(
        {
            "options": options.model_dump(mode="json"),
            "setup": context.training.model_dump(mode="json"),
            "seed": context.seed,
            "examples": context.examples("training"),
            "student": checkpoints.digest(checkpoints.tensors_of(student.module)),
            "teacher": None
            if teacher is None
            else [teacher.key, teacher.alpha, teacher.temperature, teacher.variations],
        }
    )

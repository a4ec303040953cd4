"""Candidates against the baseline, paired, with the interval that fits the metric."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlopt import stats
from mlopt.errors import ConfigError, DataError
from mlopt.evaluation import deltas
from mlopt.evaluation.pairs import Pair

Array = np.ndarray[Any, Any]
N = 200
_numbers = itertools.count()

Compare = Callable[..., Any]


def metric(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "function": None,
        "higher_is_better": True,
        "max_drop": None,
        "relative": False,
    } | changes


def one_hot(classes: Array, width: int = 3) -> Array:
    return np.eye(width, dtype=np.float32)[classes]


def answers(right: int, wrong_to: int = 1, n: int = N) -> Array:
    """Logits that answer class 0, the truth, on the first ``right`` examples."""
    return one_hot(np.where(np.arange(n) < right, 0, wrong_to))


TRUTH = np.zeros(N, dtype=np.int64)


def test_accuracy_has_tangos_interval_of_the_paired_outcomes(run: Compare) -> None:
    candidate = answers(180)
    candidate[:10] = one_hot(np.full(10, 2))  # ten lost, twenty gained
    result = run(TRUTH, metric("accuracy"), fp32=answers(160), int8=candidate).metric("int8")
    assert (result.gained, result.lost) == (20, 10)
    assert (result.value, result.baseline_value) == (pytest.approx(0.85), pytest.approx(0.8))
    assert result.delta.value == pytest.approx(0.05)
    low, high = stats.tango_interval(20, 10, N)
    assert (result.delta.low, result.delta.high) == (pytest.approx(low), pytest.approx(high))
    assert "Tango" in result.method
    assert (result.split, result.examples, result.name) == ("selection", N, "accuracy")


def test_an_interval_of_an_unchanged_accuracy_does_not_collapse(run: Compare) -> None:
    delta = (
        run(TRUTH, metric("accuracy"), fp32=answers(160), same=answers(160)).metric("same").delta
    )
    assert delta.value == 0
    assert delta.low is not None
    assert delta.high is not None
    assert delta.low < 0 < delta.high


def test_the_baseline_differs_from_itself_by_exactly_nothing(run: Compare) -> None:
    found = run(TRUTH, metric("accuracy"), fp32=answers(160), int8=answers(150))
    result = found.metric("fp32")
    assert (result.delta.value, result.delta.low, result.delta.high) == (0, 0, 0)
    assert result.value == result.baseline_value == pytest.approx(0.8)
    assert (result.gained, result.lost) == (0, 0)
    assert found.flip_rate("fp32") == 0


def test_flips_count_changed_classes_also_from_wrong_to_wrong(run: Compare) -> None:
    found = run(TRUTH, metric("accuracy"), fp32=answers(160), int8=answers(160, wrong_to=2))
    assert found.metric("int8").delta.value == 0
    assert found.flip_rate("int8") == pytest.approx(40 / N)


@pytest.mark.parametrize("shape", [(N,), (N, 1)])
def test_flips_of_a_single_logit_are_changes_of_its_sign(
    run: Compare, shape: tuple[int, ...]
) -> None:
    before = np.linspace(-1, 1, N).astype(np.float32)
    after = before.copy()
    after[:50] *= -1
    after[150:] *= 7
    found = run(
        (before > 0).astype(np.int64),
        metric("accuracy"),
        fp32=before.reshape(shape),
        int8=after.reshape(shape),
    )
    assert found.flip_rate("int8") == pytest.approx(50 / N)
    assert (found.metric("int8").gained, found.metric("int8").lost) == (0, 50)


def test_every_candidate_has_every_metric_in_the_order_of_the_request(run: Compare) -> None:
    found = run(
        np.arange(N) / N,
        metric("mae", higher_is_better=False),
        metric("mse", higher_is_better=False),
        task="regression",
        fp32=np.zeros(N),
        int8=np.ones(N),
        int4=np.full(N, 2.0),
    )
    assert list(found.found) == ["fp32", "int8", "int4"]
    for name in found.found:
        assert [found.metric(name, i).name for i in range(2)] == ["mae", "mse"]
    assert found.metric("int8").value < found.metric("int4").value


@pytest.mark.parametrize(
    ("name", "noise", "method"),
    [("f1", 0.0, "influences"), ("f1", 1.0, "influences"), ("auroc", 1.0, "bootstrap")],
)
def test_other_metrics_are_not_counted(run: Compare, name: str, noise: float, method: str) -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, N)
    base = truth + rng.normal(size=N) - 0.5
    found = run(truth, metric(name), fp32=base, int8=base + noise * rng.normal(size=N))
    result = found.metric("int8")
    assert result.delta.value == pytest.approx(result.value - result.baseline_value)
    assert result.delta.low < result.delta.value < result.delta.high  # type: ignore[operator]
    assert (result.delta.value == 0) == (noise == 0)
    assert method in result.method
    assert (result.gained, result.lost, result.p_value) == (None, None, None)


@pytest.mark.parametrize("name", ["mse", "mae", "r2"])
def test_regression_deltas_are_paired_and_nothing_flips(run: Compare, name: str) -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=N)
    noise = rng.normal(size=N)
    found = run(
        truth,
        metric(name, higher_is_better=name == "r2"),
        task="regression",
        fp32=(truth + noise)[:, None].astype(np.float32),
        int8=(truth + 1.02 * noise)[:, None].astype(np.float32),
    )
    result = found.metric("int8")
    assert found.flip_rate("int8") is None
    assert result.delta.value == pytest.approx(result.value - result.baseline_value, abs=1e-9)
    # Unpaired, 2% of noise would drown in the noise itself.
    assert result.delta.low * result.delta.high > 0  # type: ignore[operator]


@pytest.mark.parametrize("targets_shape", [(N,), (N, 1)])
@pytest.mark.parametrize("outputs_shape", [(N,), (N, 1)])
def test_one_column_and_none_are_the_same_regression(
    run: Compare, targets_shape: tuple[int, ...], outputs_shape: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=N)
    error = rng.normal(size=N)
    result = run(
        truth.reshape(targets_shape),
        metric("mse", higher_is_better=False),
        metric("r2"),
        task="regression",
        fp32=truth.reshape(outputs_shape),
        int8=(truth + error).reshape(outputs_shape),
    ).metric("int8")
    assert result.value == pytest.approx((error**2).mean())
    assert result.baseline_value == 0


def test_a_relative_margin_is_a_share_of_the_baselines_value(run: Compare) -> None:
    found = run(
        TRUTH,
        metric("accuracy", max_drop=0.05, relative=True),
        metric("accuracy", max_drop=0.05),
        fp32=answers(160),
        int8=answers(150),
    )
    assert found.metric("int8", 0).max_drop == pytest.approx(0.04)
    assert found.metric("int8", 1).max_drop == 0.05


def user_module(tmp_path: Path, text: str) -> str:
    name = f"user_metric_{next(_numbers)}"
    (tmp_path / f"{name}.py").write_text(f"import numpy as np\n\n{text}")
    return name


def test_the_same_seed_gives_the_same_interval_and_another_one_another(
    run: Compare, tmp_path: Path
) -> None:
    module = user_module(
        tmp_path, "def f(outputs, targets):\n    return float((outputs * targets).mean())\n"
    )
    rng = np.random.default_rng(0)
    outputs = {name: rng.normal(size=N) for name in ("fp32", "int8")}
    first, again, other = (
        run(np.arange(N) % 3, metric("f", function=f"{module}:f"), seed=seed, **outputs)
        .metric("int8")
        .delta
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_a_metric_of_the_users_is_called_with_outputs_and_targets(
    run: Compare, tmp_path: Path
) -> None:
    module = user_module(
        tmp_path, "def top1(outputs, targets):\n    return (outputs.argmax(1) == targets).mean()\n"
    )
    result = run(
        TRUTH, metric("top1", function=f"{module}:top1"), fp32=answers(160), int8=answers(150)
    ).metric("int8")
    assert (result.value, result.baseline_value) == (pytest.approx(0.75), pytest.approx(0.8))
    assert result.delta.value == pytest.approx(-0.05)
    assert result.delta.low < -0.05 < result.delta.high  # type: ignore[operator]


@pytest.mark.parametrize("groups", [None, np.repeat(np.arange(N // 2), 2)])
def test_a_users_metric_of_classes_is_widened_by_how_few_of_them_changed(
    groups: Array | None,
) -> None:
    def top1(outputs: Array, targets: Array) -> float:
        return float((outputs.argmax(axis=1) == targets).mean())

    noise = np.random.default_rng(0).normal(0, 0.01, (N, 3))
    pair = Pair(answers(158) + noise, answers(160), TRUTH, groups)

    found = deltas.change_of("top1", top1, pair, -0.01, seed=0).delta

    def change(rows: Array) -> float:
        now, before = (top1(one[rows], TRUTH[rows]) for one in (pair.candidate, pair.baseline))
        return now - before

    changed = 2 if groups is None else 1
    assert found == stats.bootstrap_delta(change, N, seed=0, groups=groups, changed=changed)
    blind = stats.bootstrap_delta(change, N, seed=0, groups=groups)
    assert found.value - found.low > 1.5 * (blind.value - blind.low)  # type: ignore[operator]


def test_a_users_metric_that_looks_at_scores_is_changed_by_every_score() -> None:
    def confidence(outputs: Array, targets: Array) -> float:
        return float(outputs[np.arange(len(targets)), targets].mean())

    noise = np.random.default_rng(0).normal(0, 0.01, (N, 3))
    pair = Pair(answers(160) + noise, answers(160), TRUTH)

    found = deltas.change_of("confidence", confidence, pair, 0.0, seed=0).delta

    assert found.high - found.low < 0.005  # type: ignore[operator]


def test_a_users_metric_with_the_name_of_a_builtin_one_is_the_users(
    run: Compare, tmp_path: Path
) -> None:
    module = user_module(
        tmp_path, "def score(outputs, targets):\n    return float(outputs.sum())\n"
    )
    result = run(
        TRUTH, metric("accuracy", function=f"{module}:score"), fp32=answers(160), int8=answers(150)
    ).metric("int8")
    assert result.value == N
    assert (result.gained, result.lost) == (None, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def f(outputs, targets):\n    return outputs['logits']\n", "IndexError"),
        ("def f(outputs):\n    return 1.0\n", "TypeError"),
        ("def f(outputs, targets):\n    return outputs\n", "TypeError"),
        ("def f(outputs, targets):\n    return None\n", "TypeError"),
    ],
)
def test_a_metric_that_raises_is_the_users_error_with_its_place(
    run: Compare, tmp_path: Path, text: str, message: str
) -> None:
    module = user_module(tmp_path, text)
    with pytest.raises(ConfigError, match=rf"metrics \(f\): '{module}:f' raised {message}"):
        run(TRUTH, metric("f", function=f"{module}:f"), fp32=answers(160), int8=answers(150))


def test_the_line_of_a_metric_that_raises_is_named(run: Compare, tmp_path: Path) -> None:
    module = user_module(tmp_path, "def f(outputs, targets):\n    return 1 / 0\n")
    with pytest.raises(ConfigError, match=rf"\({module}\.py, line 4\)"):
        run(TRUTH, metric("f", function=f"{module}:f"), fp32=answers(160), int8=answers(150))


def test_a_metric_that_does_not_exist_gets_a_near_match(run: Compare, tmp_path: Path) -> None:
    module = user_module(tmp_path, "def top_one(outputs, targets):\n    return 1.0\n")
    with pytest.raises(ConfigError, match=r"metrics \(f\): .*Did you mean 'top_one'"):
        run(TRUTH, metric("f", function=f"{module}:top_won"), fp32=answers(160))


def test_a_metric_that_raises_on_some_resamples_only_still_has_an_interval(
    run: Compare, tmp_path: Path
) -> None:
    module = user_module(
        tmp_path,
        "def f(outputs, targets):\n"
        "    if targets.sum() < 2:\n"
        "        raise ValueError('too few of class 1')\n"
        "    return float((outputs.argmax(1) == targets).mean())\n",
    )
    truth = np.where(np.arange(N) < 4, 1, 0)
    result = run(
        truth, metric("f", function=f"{module}:f"), fp32=answers(160), int8=answers(150)
    ).metric("int8")
    assert result.delta.low < result.delta.value < result.delta.high  # type: ignore[operator]


@pytest.mark.parametrize("function", [False, True])
def test_a_bootstrap_that_takes_seconds_says_how_far_it_is(
    run: Compare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: bool
) -> None:
    said: list[str] = []
    clock = itertools.count(0.0, 0.6)
    monkeypatch.setattr(deltas, "emit", lambda message, done=None: said.append(message))
    monkeypatch.setattr(deltas.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr("mlopt.stats.paired._MAX_WEIGHTS", 50 * N)
    module = user_module(
        tmp_path, "def f(outputs, targets):\n    return float((outputs[:, 0] * targets).mean())\n"
    )
    truth = np.arange(N) % 3
    run(
        truth,
        metric("auroc", function=f"{module}:f" if function else None),
        fp32=one_hot(truth),
        int8=one_hot(np.where(np.arange(N) < 20, 0, truth)),
    )
    bootstrap = [message for message in said if "interval of 'auroc'" in message]
    calls = 1 + 1000 + 200 if function else 1 + 1000 // 50 + 200 // 50
    assert len(bootstrap) == calls // 2
    assert bootstrap[0].endswith("1 resamples")


def test_a_metric_that_raises_on_most_resamples_has_no_interval(
    run: Compare, tmp_path: Path
) -> None:
    module = user_module(
        tmp_path,
        "def f(outputs, targets):\n"
        "    if len(set(targets.tolist())) < len(targets):\n"
        "        raise ValueError('not all of them')\n"
        "    return float(outputs.sum())\n",
    )
    compared = run(
        np.arange(N),
        metric("f", function=f"{module}:f"),
        fp32=answers(160),
        int8=2 * answers(150),
    )
    assert "no interval for 'f'" in compared.found["int8"]["error"]


def test_a_candidate_that_cannot_be_compared_costs_that_candidate_only(
    run: Compare, tmp_path: Path
) -> None:
    module = user_module(
        tmp_path,
        "def f(outputs, targets):\n"
        "    if outputs.max() > 1000:\n"
        "        raise OverflowError('too large')\n"
        "    return float(outputs.sum())\n",
    )
    broken = answers(150)
    broken[0, 0] = 2000.0
    compared = run(
        TRUTH,
        metric("f", function=f"{module}:f"),
        fp32=answers(160),
        broken=broken,
        int8=answers(150),
    )
    assert "OverflowError: too large" in compared.found["broken"]["error"]
    assert compared.metric("int8").value == pytest.approx(answers(150).sum())


def test_a_metric_that_is_not_defined_on_the_split_is_refused(run: Compare) -> None:
    with pytest.raises(DataError, match=r"'auroc' is not defined on data\.selection"):
        run(TRUTH, metric("auroc"), fp32=answers(160), int8=answers(150))


def test_a_users_metric_that_returns_nan_is_refused(run: Compare, tmp_path: Path) -> None:
    module = user_module(tmp_path, "def f(outputs, targets):\n    return float('nan')\n")
    with pytest.raises(DataError, match="'f' is not defined"):
        run(TRUTH, metric("f", function=f"{module}:f"), fp32=answers(160))


def test_a_split_without_targets_cannot_be_scored(run: Compare) -> None:
    with pytest.raises(DataError, match=r"data\.selection has no targets"):
        run(None, metric("accuracy"), fp32=answers(160))

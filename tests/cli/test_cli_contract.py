"""What the command line calls is what the API offers."""

import inspect

import pytest

from mlopt import api

COMMON = {"providers", "batch_sizes", "seed", "time_limit_s", "on_event"}
LOAD = {"load", "callers", "rates", "p99", "target_qps", "headroom", "seconds"}
QUESTION = COMMON | {"recipes", "budget", "max_drop", "allow_fallback"}
STORAGE = {"out", "use_cache", "keep_predictions", "resume"}


@pytest.mark.parametrize(
    ("function", "options"),
    [
        ("optimize", QUESTION | STORAGE),
        ("plan", QUESTION),
        ("profile", COMMON | LOAD | {"data", "launches", "rounds"}),
        ("render_report", set()),
        ("verify", {"project", "on_event"}),
        ("list_recipes", set()),
        ("show_recipe", {"project"}),
        ("validate_recipes", set()),
        ("schema", set()),
        ("init", {"onnx", "force"}),
    ],
)
def test_the_api_takes_what_the_command_line_gives(function, options):
    inspect.signature(getattr(api, function)).bind("first", **dict.fromkeys(options))


def test_the_api_takes_no_more_than_the_command_line_gives():
    parameters = set(inspect.signature(api.optimize).parameters)
    assert parameters == QUESTION | STORAGE | {"project"}

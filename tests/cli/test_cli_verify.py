"""``mlopt report RUN --verify``."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from mlopt.cli.verification import excerpts
from mlopt.types.verification import Checked, Mismatch, Unverified


@pytest.fixture
def verified(fake_api):
    """What the API finds; ``asked`` is what it was asked for."""
    found = SimpleNamespace(
        mismatches=(),
        unverified=(Unverified(what="run.json /seconds", count=3, reason="recorded"),),
        checked=Checked(numbers=1234, fields=5, files=6, lines=7, plots=2),
        tolerance=1e-12,
        changed=("numpy: 1 then, 2 now",),
        exit_code=0,
        asked=[],
        document=lambda: {"agrees": not found.mismatches},
    )

    def verify(run, *, project, on_event):
        found.asked.append((run, project))
        return found

    fake_api.verify = verify
    return found


def test_a_run_that_agrees_says_how_much_was_compared_and_what_was_not(mlopt_command, verified):
    code, out, _ = mlopt_command("report", "run", "--verify", "--project", "here")
    assert code == 0
    assert verified.asked == [(Path("run"), Path("here"))]
    for words in ("1,234 numbers", "Everything that was compared agrees", "numpy: 1 then"):
        assert words in out
    assert out.splitlines()[-2:] == ["  recorded:", "    run.json /seconds (3)"]


def test_what_differs_is_named_and_the_exit_code_is_3(mlopt_command, verified):
    verified.exit_code = 3
    verified.mismatches = (
        Mismatch(file="run.json", place="/a/b", about="int8", says="1.5", should="1.6"),
        Mismatch(file="samples/x.npz", place="", says="a file", should=None),
    )
    code, out, _ = mlopt_command("report", "run", "--verify")
    assert code == 3
    assert "run.json /a/b (int8)\n  says:   1.5\n  should: 1.6\n" in out
    assert "samples/x.npz\n  says:   a file\n  should: not be there\n" in out
    assert "2 mismatches" in out


def test_json_is_the_document_and_nothing_else(mlopt_command, verified):
    code, out, _ = mlopt_command("report", "run", "--verify", "--json")
    assert (code, json.loads(out)) == (0, {"agrees": True})


@pytest.mark.parametrize("option", [["--project", "here"], ["--json"]])
def test_options_of_the_verification_go_with_it(mlopt_command, fake_api, option):
    code, _, err = mlopt_command("report", "run", *option)
    assert code == 2
    assert f"{option[0]} goes with --verify" in err


def test_long_texts_are_shown_around_what_differs():
    says, should = excerpts("x" * 300 + "1" + "y" * 10, "x" * 300 + "2" + "y" * 10)
    assert says == "…" + "x" * 40 + "1" + "y" * 10
    assert should == "…" + "x" * 40 + "2" + "y" * 10

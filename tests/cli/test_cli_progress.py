"""Progress: lines by an injected clock, the line on a terminal, and colours."""

import io
import re
import sys
import threading

import pytest

from mlopt.cli.console import print_error
from mlopt.cli.progress import MOST_SILENCE_S, LineProgress, format_seconds, watching
from mlopt.types.events import Event


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def lines():
    return []


@pytest.fixture
def progress(lines, clock):
    return LineProgress(lines.append, clock)


@pytest.fixture
def open_terminal(monkeypatch):
    """Makes stderr a terminal; to be called in the test, because pytest replaces it before."""

    def open_it(**environment):
        stream = Terminal()
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.delenv("NO_COLOR", raising=False)
        for name, value in {"TERM": "xterm-256color", "COLUMNS": "80", **environment}.items():
            monkeypatch.setenv(name, value)
        return stream

    return open_it


def building(message, **more):
    return Event(phase="build", message=message, **more)


def test_a_change_is_a_line_with_what_is_known(progress, lines, clock):
    clock.now += 1
    progress(building("int8_static: calibrating", done=0.4, left_s=12))
    assert lines == ["[  1 s] build: int8_static: calibrating (40%, about 12 s left)"]


def test_the_first_event_is_shown_at_once(progress, lines):
    progress(building("a"))
    assert lines == ["[  0 s] build: a"]


def test_lines_come_at_most_every_half_second_and_the_last_one_is_not_lost(progress, lines, clock):
    for number in range(10):
        progress(building(f"step {number}"))
        clock.now += 0.04
    assert lines == ["[  0 s] build: step 0"]
    clock.now += 0.2
    progress.tick()
    assert lines[1:] == ["[  1 s] build: step 9"]


def test_a_change_that_waits_is_printed_at_the_end(progress, lines):
    progress(building("a"))
    progress(building("b"))
    progress.close()
    progress.close()
    assert lines == ["[  0 s] build: a", "[  0 s] build: b"]


def test_the_same_message_is_not_repeated_for_a_new_share(progress, lines, clock):
    progress(building("a", done=0.1))
    clock.now += 1
    progress(building("a", done=0.2))
    assert len(lines) == 1


def test_a_silence_is_broken_by_a_sign_of_life(progress, lines, clock):
    progress(building("a", done=0.5, left_s=10))
    clock.now += MOST_SILENCE_S - 0.1
    progress.tick()
    assert len(lines) == 1
    clock.now += 0.1
    progress.tick()
    assert lines[1:] == ["[  2 s] build: a (50%, about 8 s left)"]


def test_waiting_for_the_first_event_is_not_silent(progress, lines, clock):
    clock.now += MOST_SILENCE_S
    progress.tick()
    assert lines == ["[  2 s] starting"]


def test_a_warning_is_printed_at_once(progress, lines, capsys):
    progress(building("a"))
    progress(building("it is hot", level="warning"))
    assert len(lines) == 1
    assert capsys.readouterr().err == "warning: it is hot\n"


def test_lines_go_to_stderr_when_it_is_no_terminal(capsys):
    with watching(quiet=False) as on_event:
        on_event(building("a"))
    assert capsys.readouterr() == ("", "[  0 s] build: a\n")
    assert "mlopt-progress" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("columns", ["80", "20"])
def test_a_terminal_shows_one_line_that_fits(open_terminal, columns):
    terminal = open_terminal(COLUMNS=columns)
    with watching(quiet=False) as on_event:
        on_event(building("[b]x " * 40, done=0.3, left_s=7))
        on_event(Event(phase="time", message="round 1", done=1.0))
        on_event(building("it is hot", level="warning"))
    shown = terminal.getvalue()
    assert "warning:" in shown
    assert "it is hot" in shown
    if columns == "80":
        assert "round 1" in shown


def test_a_dumb_terminal_gets_lines(open_terminal):
    terminal = open_terminal(TERM="dumb")
    with watching(quiet=False) as on_event:
        on_event(building("a"))
    assert terminal.getvalue() == "[  0 s] build: a\n"


def test_a_terminal_has_colours_unless_no_color_is_set(open_terminal):
    terminal = open_terminal()
    print_error("x")
    assert "\x1b[" in terminal.getvalue()
    terminal = open_terminal(NO_COLOR="1")
    print_error("x")
    assert terminal.getvalue() == "error: x\n"


def test_no_color_leaves_no_colour_in_the_progress(open_terminal):
    terminal = open_terminal(NO_COLOR="1")
    with watching(quiet=False) as on_event:
        on_event(building("a", done=0.5))
    assert "build" in terminal.getvalue()
    assert not re.search(r"\x1b\[[0-9;]*m", terminal.getvalue())


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1m 00s"), (3725, "1h 02m")]
)
def test_durations_read_well(seconds, text):
    assert format_seconds(seconds) == text

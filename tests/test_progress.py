"""Progress: bars on a terminal, a few lines in a log, nothing when silent."""

import io
import subprocess
import sys

import pytest

from onnxprune.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def lines(total, seconds_per_step):
    stream, clock = io.StringIO(), Clock()
    with Progress(stream, clock).task("healing", total=total) as step:
        for _ in range(total):
            clock.now += seconds_per_step
            step()
    return stream.getvalue().splitlines()


def test_a_quick_task_is_one_line():
    assert lines(1000, 0.0005) == ["healing: 1000/1000 in 0.5 s"]


def test_a_task_says_a_line_each_tenth():
    assert lines(1000, 0.02)[:3] == ["healing: 100/1000", "healing: 200/1000", "healing: 300/1000"]
    assert len(lines(1000, 0.02)) == 10


def test_a_slow_task_says_a_line_each_five_seconds():
    assert lines(1000, 0.5)[:2] == ["healing: 10/1000", "healing: 20/1000"]


def test_a_task_says_at_most_a_line_a_second():
    assert lines(10, 0.4) == ["healing: 3/10", "healing: 6/10", "healing: 9/10", "healing: 10/10 in 4.0 s"]


def test_steps_may_be_large():
    stream = io.StringIO()
    with Progress(stream).task("reading", total=10) as step:
        step(4)
        step(count=6)
    assert stream.getvalue().startswith("reading: 10/10 in ")


def test_a_task_that_fails_says_where_it_stopped():
    def fail():
        with Progress(stream).task("healing", total=3) as step:
            step()
            raise KeyError

    stream = io.StringIO()
    with pytest.raises(KeyError):
        fail()
    assert stream.getvalue() == "healing: stopped at 1/3\n"


def test_silence_writes_nothing(capfd):
    with Progress.silent().task("healing", total=2) as step:
        step()
        step(1)
    assert capfd.readouterr() == ("", "")


def test_a_closed_stream_does_not_stop_the_work():
    stream = io.StringIO()
    with Progress(stream).task("healing", total=1) as step:
        stream.close()
        step()


def test_a_terminal_gets_bars_that_nest_and_leave_nothing_behind(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    progress = Progress(stream)
    for _ in range(2):
        with progress.task("passes", total=2) as outer, progress.task("healing", total=3) as inner:
            inner()
            outer()
            progress._bars.refresh()
            assert [task.description for task in progress._bars.tasks] == ["passes", "healing"]
    assert "passes" in stream.getvalue()
    assert "1/3" in stream.getvalue()
    assert progress._bars is None


def test_a_terminal_is_left_in_order_after_a_failure(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    progress = Progress(stream)
    with pytest.raises(KeyError), progress.task("healing", total=3):
        raise KeyError
    assert progress._bars is None
    assert stream.getvalue().rindex("\x1b[?25h") > stream.getvalue().rindex("\x1b[?25l")  # the cursor is back


def test_stderr_is_the_stream_of_the_command_line():
    assert Progress.stderr().stream is sys.stderr


def test_rich_and_onnxruntime_are_not_imported_before_they_are_needed():
    modules = "calibrate, evaluate, cache, progress, executor"
    code = f"import sys; from onnxprune import {modules}; print(sorted({{'rich', 'onnxruntime'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"

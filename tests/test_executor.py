"""Executors: the same results in the same order, wherever the work is done."""

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from onnxprune.errors import PassError, UsageError
from onnxprune.executor import Processes, Serial, executor
from onnxprune.progress import Progress


def spectrum(seed):
    return np.linalg.eigvalsh(np.cov(np.random.default_rng(seed).standard_normal((8, 20))))


def fail_at_two(item):
    if item == 2:
        raise ValueError("two")
    return item


def die(item):
    os._exit(1)


def process(item):
    return os.getpid()


def test_results_do_not_depend_on_the_executor():
    serial, parallel = (executor.map(spectrum, range(5)) for executor in (Serial(), Processes(2)))
    assert [a.tobytes() for a in serial] == [b.tobytes() for b in parallel]


@pytest.mark.parametrize("executor", [Serial(), Processes(2)], ids=["serial", "processes"])
def test_the_function_s_exception_comes_through(executor):
    with pytest.raises(ValueError, match="two"):
        executor.map(fail_at_two, iter(range(4)))


@pytest.mark.parametrize("executor", [Serial(), Processes(3)], ids=["serial", "processes"])
def test_nothing_to_do_is_nothing_done(executor):
    assert executor.map(spectrum, []) == []


def test_a_lone_item_or_job_needs_no_process():
    assert Processes(4).map(process, [0]) == [os.getpid()]
    assert Processes(1).map(process, [0, 1]) == [os.getpid()] * 2


def test_several_items_leave_this_process():
    assert os.getpid() not in Processes(2).map(process, [0, 1])


def test_a_process_that_dies_is_a_pass_error():
    with pytest.raises(PassError, match="a worker process died"):
        Processes(2).map(die, [0, 1])


@pytest.mark.parametrize("jobs", [0, -1])
def test_no_jobs_are_refused(jobs):
    with pytest.raises(UsageError, match="takes at least 1"):
        Processes(jobs)


@pytest.mark.parametrize("executor", [Serial(), Processes(2)], ids=["serial", "processes"])
def test_every_result_is_told_of(executor):
    told = []
    assert executor.map(abs, [-1, -2, -3], lambda: told.append(len(told))) == [1, 2, 3]
    assert told == [0, 1, 2]


def test_one_job_needs_no_processes():
    assert (executor(1), executor(3)) == (Serial(), Processes(3))


def test_in_a_worker_there_are_no_further_processes_and_nobody_watches():
    assert pickle.loads(pickle.dumps(Processes(2))) == Serial()
    assert pickle.loads(pickle.dumps(Progress.stderr())).stream is None


@pytest.mark.parametrize(("function", "items"), [(lambda item: item, [0, 1]), (abs, [0, lambda: 1])])
def test_what_cannot_travel_is_refused(function, items):
    with pytest.raises(UsageError, match="cannot be sent to another process"):
        Processes(2).map(function, items)


def test_what_does_not_arrive_is_an_error_here(monkeypatch, tmp_path):
    (tmp_path / "fleeting.py").write_text("def function(item):\n    return item\n")
    monkeypatch.syspath_prepend(tmp_path)
    import fleeting

    (tmp_path / "fleeting.py").unlink()
    with pytest.raises(ModuleNotFoundError, match="fleeting"):
        Processes(2).map(fleeting.function, [0, 1])


SLEEPY = """
import os, sys, time
from pathlib import Path
from onnxprune.executor import Processes

def sleep(folder):
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(60)

if __name__ == "__main__":
    Processes(2).map(sleep, [sys.argv[1]] * 4)
"""


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def waited(condition):
    deadline = time.monotonic() + 30
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_workers_go_with_the_parent_however_it_does(how, tmp_path):
    (tmp_path / "sleepy.py").write_text(SLEEPY)
    (tmp_path / "pids").mkdir()
    words = [sys.executable, str(tmp_path / "sleepy.py"), str(tmp_path / "pids")]
    with subprocess.Popen(words, stderr=subprocess.PIPE, start_new_session=True, text=True) as parent:
        assert waited(lambda: len(list((tmp_path / "pids").iterdir())) == 2)
        pids = [int(path.name) for path in (tmp_path / "pids").iterdir()]
        assert all(map(alive, pids))  # the control
        if how == signal.SIGINT:
            os.killpg(parent.pid, how)  # as a terminal does
        else:
            parent.kill()
        said = parent.communicate(timeout=30)[1]
    assert waited(lambda: not any(map(alive, pids)))
    assert said.count("Traceback") == (how == signal.SIGINT)  # that of the script

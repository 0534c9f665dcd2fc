"""Executors: the same results in the same order, wherever the work is done."""

import os

import numpy as np
import pytest

from onnxprune.errors import PassError, UsageError
from onnxprune.executor import Processes, Serial


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

"""A piece of work in a process of its own, with limits of time and memory: whatever it does, the others go on."""

from __future__ import annotations

import gc
import multiprocessing
import os
import resource
import traceback
import warnings
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

__all__ = ["isolated"]

STDOUT = 1
Work = Callable[[], Mapping[str, Any]]


def isolated(work: Work, seconds: float, gib: float) -> dict[str, Any]:
    """What the work returns; where it raises, dies or takes too long, why, under ``error``. It is forked off."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_run, args=(work, gib, theirs))
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # of forks beside threads
        process.start()
    theirs.close()
    try:
        found = ours.recv() if ours.poll(seconds) else {"error": f"no result within {seconds:g} s"}
    except EOFError:
        process.join()
        found = {"error": f"the process died with exit code {process.exitcode}"}
    finally:
        process.kill()
        process.join()
    return dict(found)


def _run(work: Work, gib: float, told: Connection) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (int(gib * 2**30), int(gib * 2**30)))
    os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)
    try:
        found = dict(work())
    except BaseException as error:  # a memory error, an exit: all are told
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__}: {str(error).strip() or 'no message'}"
        found = {"error": text[:2000], "where": f"{where.filename}:{where.lineno}"}
    gc.collect()
    told.send(found)

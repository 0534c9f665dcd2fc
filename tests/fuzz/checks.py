"""Checks for the tests of the watch: each seed ends in another way."""

from __future__ import annotations

import os
import signal
import time


def unruly(seed: int) -> str:
    """Seeds of 10 and more are well; 0 raises, 1 dies, 2 hangs, 3 wants too much memory."""
    if seed == 0:
        raise ValueError("zero")
    if seed == 1:
        os.kill(os.getpid(), signal.SIGSEGV)
    if seed == 2:
        time.sleep(60)
    if seed == 3:
        bytearray(10 * 2**30)
    return "well"

"""Small disks, commands without privileges, and a way to say what was counted."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias

import pytest

Told: TypeAlias = Callable[[str], None]
Disk: TypeAlias = Callable[[Path, str], None]


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    """Say something past the capture."""

    def say(text: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n{text}\n")

    return say


@pytest.fixture
def disk() -> Iterator[Disk]:
    """``disk(folder, "200k")`` mounts a disk of that size; skips where this is not allowed."""
    with ExitStack() as mounted:

        def mount(folder: Path, options: str) -> None:
            folder.mkdir(exist_ok=True)
            done = subprocess.run(
                ["mount", "-t", "tmpfs", "-o", options, "none", folder], capture_output=True, text=True, check=False
            )
            if done.returncode:
                pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
            mounted.callback(subprocess.run, ["umount", "--lazy", folder], check=True)

        yield mount


@pytest.fixture
def plain() -> list[str]:
    """What to put before a command so that it may do what its user may, and not what root may."""
    if os.geteuid():
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("as root, this needs setpriv of util-linux")
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner", "--inh-caps=-all"]

"""Inputs that become others while a run goes on: what is reported is what was read."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest
from oracle import net
from toys import NET, Scale, compress, doing, samples, write_net

from onnxprune.errors import OnnxPruneError
from onnxprune.model import Model
from onnxprune.passes import Changed, Context


def test_the_hash_is_that_of_the_bytes_that_were_compressed(tmp_path: Path) -> None:
    path = write_net(tmp_path)
    was = hashlib.sha256(path.read_bytes()).hexdigest()

    def meanwhile(model: Model, ctx: Context) -> Changed:
        path.write_bytes(b"another")
        return Scale().run(model, ctx)

    assert compress(path, [doing(meanwhile)]).report.input.sha256 == was


def test_a_model_is_read_once(tmp_path: Path) -> None:
    """From a pipe it could not be read again."""
    data = net(NET).proto().SerializeToString()
    os.mkfifo(pipe := tmp_path / "pipe")
    writer = threading.Thread(target=pipe.write_bytes, args=(data,))
    writer.start()
    report = compress(pipe, [Scale()]).report
    writer.join()
    assert report.input.sha256 == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_files_that_are_cut_short_meanwhile_are_refused(tmp_path: Path, share: float) -> None:
    """As a reader sees them whom a writer overtakes."""
    import numpy as np

    path, data = write_net(tmp_path), tmp_path / "calib.npz"
    np.savez(data, **samples())
    for each in (path, data):
        whole = each.read_bytes()
        each.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(OnnxPruneError):
            compress(path, [Scale()], calib=data)
        each.write_bytes(whole)

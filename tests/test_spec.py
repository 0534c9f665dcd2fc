"""A prune spec is read with care: what is wrong with it is said in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from oracle import net

from onnxprune.errors import UsageError
from onnxprune.spec import read

NET = """(float[N,3] x, float s) => (float[N,2] y) <float[3,6] w, float[6,2] v>
    { a = MatMul(x, w)  r = Mul(a, s)  y = MatMul(r, v) }"""
WRONG = {
    "[]": "the prune spec is no object; write {",
    "{": "not JSON: Expecting property name",
    '{"w": {"1": [2]}, "w": {}}': "'w' is there twice; name it once",
    '{"w": {"1": [2], "1": [3]}}': "'1' is there twice; name it once",
    '{"w": {"1": [2], "01": [3]}}': "axis 1 of 'w' is there twice; name it once",
    '{"ww": {"1": [2]}}': "no tensor 'ww'; did you mean 'w'?",
    '{"w": [2]}': "'w' is no object; write {",
    '{"w": {"2": [1]}}': "'w' has no axis '2'; it has axes 0 to 1",
    '{"w": {"-1": [1]}}': "'w' has no axis '-1'; it has axes 0 to 1",
    '{"w": {"rows": [1]}}': "'w' has no axis 'rows'; it has axes 0 to 1",
    '{"s": {"0": [1]}}': "'s' has no axis '0'; it has no axes",
    '{"w": {"1": 2}}': "w[1] has no list of slots; write {",
    '{"w": {"1": "2"}}': "w[1] has no list of slots; write {",
    '{"w": {"1": {"2": 3}}}': "w[1] has no list of slots; write {",
    '{"w": {"1": null}}': "w[1] has no list of slots; write {",
    '{"w": {"1": ["2"]}}': "w[1] cannot lose slot '2'; slots are whole numbers",
    '{"w": {"1": [1.0]}}': "w[1] cannot lose slot 1.0; slots are whole numbers",
    '{"w": {"1": [true]}}': "w[1] cannot lose slot True; slots are whole numbers",
    '{"w": {"1": [NaN]}}': "w[1] cannot lose slot nan; slots are whole numbers",
    '{"w": {"1": [-1]}}': "w[1] has no slot -1; its slots are 0 to 5",
    '{"w": {"1": [6]}}': "w[1] has no slot 6; its slots are 0 to 5",
    '{"w": {"1": [0, 1, 2, 3, 4, 5]}}': "w[1] would lose all of its 6 slots; keep at least one",
    '{"r": {"0": [0]}}': "the size of r[0] is known at run time only; leave it out",
    "[" * 99999: "not JSON: ",
    "\xff": "not JSON: ",
}


def spec(tmp_path: Path, text: str) -> Any:
    (tmp_path / "prune.json").write_bytes(text.encode("latin-1"))
    return read(tmp_path / "prune.json", net(NET))


@pytest.mark.parametrize("text", WRONG, ids=lambda text: text[:30])
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        spec(tmp_path, text)
    said = str(caught.value)
    assert said.startswith(f"{tmp_path / 'prune.json'}: {WRONG[text]}")
    assert "\n" not in said


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nothing.json: cannot read the prune spec: No such file"):
        read(tmp_path / "nothing.json", net(NET))


def test_slots_are_put_in_order_and_axes_become_numbers(tmp_path: Path) -> None:
    found = spec(tmp_path, '{"w": {"1": [4, 2, 4], "0": []}, "r": {"1": [2]}}')
    assert found == {"w": {1: [2, 4], 0: []}, "r": {1: [2]}}


def test_a_mapping_will_do_and_its_slots_may_be_an_array() -> None:
    assert read({"w": {1: np.array([2, 1])}}, net(NET)) == {"w": {1: [1, 2]}}
    with pytest.raises(UsageError, match=r"^no tensor 'u'"):
        read({"u": {}}, net(NET))

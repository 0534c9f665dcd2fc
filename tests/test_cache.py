"""The disk cache: what goes in comes out, and nothing that can go wrong with a disk is an error."""

import logging
import os
from pathlib import Path

import pytest

from onnxprune.cache import Cache


def entries(folder):
    return sorted(folder.glob("*.entry"))


@pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 1000])
def test_what_was_put_is_got(tmp_path, data):
    Cache(tmp_path / "a" / "b").put("key", data)
    assert Cache(tmp_path / "a" / "b").get("key") == data


def test_an_unknown_key_is_missing(tmp_path):
    assert Cache(tmp_path).get("key") is None


@pytest.mark.parametrize("key", ["../../escape", "a/b", "", "ä" * 500, "\0"])
def test_any_text_is_a_key(tmp_path, key):
    cache = Cache(tmp_path / "cache")
    cache.put(key, b"data")
    assert cache.get(key) == b"data"
    assert [p.name for p in tmp_path.iterdir()] == ["cache"]


def test_a_second_put_replaces_the_first(tmp_path):
    cache = Cache(tmp_path)
    cache.put("key", b"old")
    cache.put("key", b"new")
    assert cache.get("key") == b"new"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    "damage",
    [lambda b: b[:-1], lambda b: b"", lambda b: b + b"x", lambda b: b[:40] + bytes([b[40] ^ 1]) + b[41:]],
    ids=["cut", "empty", "longer", "flipped bit"],
)
def test_a_damaged_entry_counts_as_missing_and_can_be_put_again(tmp_path, damage):
    cache = Cache(tmp_path)
    cache.put("key", b"0123456789")
    (path,) = entries(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    assert cache.get("key") is None
    cache.put("key", b"0123456789")
    assert cache.get("key") == b"0123456789"


def test_an_entry_under_another_name_counts_as_missing(tmp_path):
    cache = Cache(tmp_path)
    cache.put("a", b"data of a")
    (a,) = entries(tmp_path)
    cache.put("b", b"data of b")
    (b,) = set(entries(tmp_path)) - {a}
    a.replace(b)
    assert cache.get("b") is None


def test_the_least_recently_used_entry_goes_first(tmp_path):
    cache = Cache(tmp_path, limit_bytes=3 * 132)
    for age, key in enumerate("abc"):
        cache.put(key, key.encode() * 100)
        newest = max(entries(tmp_path), key=lambda p: p.stat().st_mtime_ns)
        os.utime(newest, ns=(age, age))
    assert cache.get("a") is not None  # used now
    cache.put("d", b"d" * 100)
    assert [key for key in "abcd" if cache.get(key) is not None] == ["a", "c", "d"]


def test_data_above_the_limit_is_not_kept(tmp_path):
    cache = Cache(tmp_path, limit_bytes=100)
    cache.put("small", b"x")
    cache.put("large", b"x" * 1000)
    assert (cache.get("small"), cache.get("large")) == (b"x", None)


def test_files_of_others_are_left_alone(tmp_path):
    (tmp_path / "letter.txt").write_bytes(b"x" * 1000)
    Cache(tmp_path, limit_bytes=100).put("key", b"x")
    assert (tmp_path / "letter.txt").exists()


def test_drafts_of_killed_processes_go_with_the_next_entry(tmp_path):
    draft = tmp_path / ".onnxprune-killed"
    draft.mkdir()
    (draft / "half").write_bytes(b"x")
    Cache(tmp_path).put("key", b"x")
    assert not draft.exists()


def test_no_folder_keeps_nothing():
    cache = Cache(None)
    cache.put("key", b"data")
    assert cache.get("key") is None


def test_a_folder_that_cannot_be_written_keeps_nothing_and_says_so(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    cache = Cache(tmp_path / "file" / "cache")
    with caplog.at_level(logging.INFO):
        cache.put("key", b"data")
    assert cache.get("key") is None
    assert "nothing is kept" in caplog.text


def test_a_full_disk_leaves_no_draft(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("onnxprune.cache.os.replace", full)
    Cache(tmp_path).put("key", b"data")
    assert list(tmp_path.iterdir()) == []


def test_the_default_follows_xdg(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert Cache.default().folder == tmp_path / "onnxprune"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for ignored in ("", "relative/path"):
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        assert Cache.default().folder == tmp_path / "home" / ".cache" / "onnxprune"


def test_without_a_home_the_default_keeps_nothing(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert Cache.default().folder is None

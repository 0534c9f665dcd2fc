"""Every page does what it says: its blocks run, its links lead somewhere, and what is made from the code is whole."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pages
import pytest
import reference
from toys import TOYS

import onnxprune
from onnxprune import registry
from onnxprune.arguments import parser
from onnxprune.importance import CRITERIA

ROOT = pages.ROOT
ELSEWHERE = ("build-systems.md", "extending.md")  # whose blocks their own tests run, with what they need
WITH_BLOCKS = [page for page in pages.pages() if any(block.runs for block in pages.blocks(page.read_text()))]
EXECUTED = [page for page in WITH_BLOCKS if page.name not in ELSEWHERE]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiler: None) -> Path:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return work


@pytest.mark.parametrize("page", EXECUTED, ids=name)
def test_every_block_of_a_page_runs(page: Path, folder: Path) -> None:
    assert pages.run(page, folder) > 0


@pytest.mark.parametrize("page", pages.pages(), ids=name)
def test_every_link_leads_somewhere(page: Path) -> None:
    built = ROOT / "docs" / "reference"
    leads = [page.parent / link for link in pages.links(page.read_text(encoding="utf-8"))]
    lost = [str(path) for path in leads if not path.exists() and built not in path.parents]
    assert lost == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("```python\nassert 1 == 2\n```\n", AssertionError),
        ("```pycon\n>>> 1 + 1\n3\n```\n", AssertionError),
        ("```sh\ntrue\nfalse\ntrue\n```\n", AssertionError),
        ("```console\n$ echo one\ntwo\n```\n", AssertionError),
        ("```console\n$ false\n```\n", AssertionError),
        ("```console\n$ exit 3\n$ echo lost\n```\n", AssertionError),
        ("```sh\nmake no-such-target\n```\n", AssertionError),
    ],
)
def test_a_page_that_does_not_do_what_it_says_is_found_out(text: str, fault: type[Exception], folder: Path) -> None:
    (folder / "page.md").write_text(text, encoding="utf-8")
    with pytest.raises(fault):
        pages.run(folder / "page.md", folder)


def test_a_page_may_write_files_leave_words_out_and_give_reasons(folder: Path) -> None:
    text = """
```toml
# a/edge.toml
schema = 1
```

```console
$ cat a/edge.toml \\
    a/edge.toml
# a/edge.toml
schema = ...
$ ls missing
ls: ...
$ echo $?
2
```

```python
x = 1
```

```pycon
>>> x + 1
2
```

There is no such command. *Not run: there is no such command.*

```sh
no-such-command
```
"""
    (folder / "page.md").write_text(text, encoding="utf-8")
    assert pages.run(folder / "page.md", folder) == 3
    (folder / "page.md").write_text("```sh\nno-such-command\n```", encoding="utf-8")
    with pytest.raises(AssertionError):
        pages.run(folder / "page.md", folder)


def test_the_first_two_commands_of_the_readme_are_the_demo_and_the_tests() -> None:
    first = next(iter(pages.blocks(README)))
    assert [line.split("#")[0].split() for line in first.text.splitlines()] == [["make", "demo"], ["make", "test"]]


def test_the_demo_is_the_command_of_the_readme() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    recipe = re.search(r"^demo:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert recipe is not None
    demo = recipe[1].replace("$(BIN)/", "").replace("\\\n", " ").split("-o ")[0].split()
    text = next(block.text for block in pages.blocks(README) if block.text.startswith("onnxprune"))
    assert text.replace("\\\n", " ").split("-o ")[0].split() == demo


def test_the_readme_names_every_pass() -> None:
    listed = re.findall(r"^\| \[?`(\w+)`", README, re.MULTILINE)
    assert set(registry.names()) <= set(listed)


def test_the_picture_shows_the_command_of_the_readme() -> None:
    command = next(block.text for block in pages.blocks(README) if block.text.startswith("onnxprune"))
    svg = (ROOT / "docs" / "pictures" / "run.svg").read_text(encoding="utf-8")
    shown = "".join(re.findall(r"<text[^>]*>([^<]*)</text>", svg)).replace("&#160;", " ")
    assert " ".join(command.split()) in " ".join(shown.split())


def test_a_pass_of_another_distribution_has_a_page_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "names", lambda: ("fold", "scale"))
    monkeypatch.setattr(registry, "load", {"fold": registry.load("fold"), "scale": TOYS["scale"]}.__getitem__)
    monkeypatch.setattr(registry, "summaries", lambda: {"fold": "Folds.", "scale": "Scales."})
    made = dict(reference.pages())
    assert made["pass-scale.md"].startswith("# scale\n\n")
    assert "[`scale`](pass-scale.md) | Scales." in made["passes.md"]


def test_every_criterion_has_a_row_with_its_needs() -> None:
    rows = dict(re.findall(r"^\| `([\w-]+)` \|.*\| (.*) \|$", dict(reference.pages())["criteria.md"], re.MULTILINE))
    assert rows.keys() == CRITERIA.keys()
    assert {name for name, needs in rows.items() if needs == "nothing"} == {
        name for name, each in CRITERIA.items() if not each.needs
    }


def test_reference_pages_that_are_right_keep_their_date_and_others_go(tmp_path: Path) -> None:
    reference.write(tmp_path)
    dates = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    (tmp_path / "pass-gone.md").write_text("# gone")
    reference.write(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == dates


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole site, built with warnings as errors."""
    out = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "docs", str(out)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out


def test_the_site_tells_every_pass_option_and_public_name(site: Path) -> None:
    made = site / "reference"
    for each in registry.names():
        page = (made / f"pass-{each}.html").read_text(encoding="utf-8")
        assert all(f">{option.name}<" in page for option in onnxprune.options.told(registry.load(each)))
    commands = (made / "command-line.html").read_text(encoding="utf-8")
    ids = [f'id="cmdoption-onnxprune-{o.lstrip("-")}"' for a in parser()._actions for o in a.option_strings]
    assert [each for each in ids if each not in commands] == []
    python = (made / "python.html").read_text(encoding="utf-8")
    assert [n for n in onnxprune.__all__ if n[0] != "_" and f'id="onnxprune.{n}"' not in python] == []


def test_the_site_needs_no_network(site: Path) -> None:
    loads = re.compile(r'<(?:script|link|img)[^>]+(?:src|href)="(https?:[^"]+)')
    assert [url for page in site.rglob("*.html") for url in loads.findall(page.read_text(encoding="utf-8"))] == []

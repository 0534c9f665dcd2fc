"""Runs the fenced blocks of a Markdown page in the order in which they stand, in one folder.

    # edge.toml        a block of any language that begins with a comment naming a file is written to that file
    python             runs; names live on in the blocks that follow
    pycon              runs, and prints what is shown
    sh, bash           runs; every command must succeed
    console            "$ command" runs, and prints what is shown below it; one that shows nothing must succeed

"..." in what is shown stands for anything, and white space is not compared. A block whose paragraph before ends in
"*Not run: why.*" is left out: the reader sees the reason too. Other languages are there to be read.
"""

from __future__ import annotations

import doctest
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[1]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
NAMED = re.compile(r"(?:#|//|--|;|%) ([\w./-]+\.\w+|CMakeLists\.txt|Makefile|meson\.build)$")
EXCUSE = re.compile(r"\*Not run: [^*]{8,}\*$")
END = "\x1e"  # what commands print ends here, and their exit code comes next
# The repository's own targets are not run by its tests, which one of them runs: they must be there.
PRELUDE = """\
make() { if [ -e Makefile ] || [ "$1" = -C ]; then command make "$@"; else command make -C "$ROOT" -n "$@" >&2; fi; }
"""


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, text, line on the page, and why it is not run, if it is not."""

    language: str
    text: str
    line: int
    excuse: str | None = None

    @property
    def file(self) -> str | None:
        """The file that the block is to be written to."""
        found = NAMED.match(self.text.partition("\n")[0])
        return found[1] if found else None

    @property
    def runs(self) -> bool:
        """Whether it is a program, and not something to read."""
        return self.language in RUNNERS and not self.file and not self.excuse


def pages() -> list[Path]:
    """Every Markdown page that somebody wrote."""
    folders = [each for each in ROOT.iterdir() if each.is_dir() and each.name not in ("build", "dist", "tests")]
    found = [page for each in folders if each.name[0] != "." for page in each.rglob("*.md")]
    return sorted([*ROOT.glob("*.md"), *(page for page in found if "reference" not in page.relative_to(ROOT).parts)])


def blocks(text: str) -> Iterator[Block]:
    """The blocks of a page."""
    before = ""
    for token in MarkdownIt().parse(text):
        if token.type == "inline":
            before = token.content.strip()
        elif token.type == "fence" and token.map is not None:
            excuse = EXCUSE.search(before)
            language = (token.info.split() or [""])[0]
            yield Block(language, token.content, token.map[0] + 2, excuse and excuse[0].strip("*"))
            before = ""


def texts(page: str, language: str) -> list[str]:
    """What stands in the blocks of one language on a page of the repository."""
    found = blocks((ROOT / page).read_text(encoding="utf-8"))
    return [block.text for block in found if block.language == language]


def commands(text: str) -> list[list[str]]:
    """The command lines of a shell block, comments left out."""
    return [words for line in text.replace("\\\n", " ").splitlines() if (words := shlex.split(line, comments=True))]


def links(text: str) -> list[str]:
    """Where a page leads to within the repository: pages, files and pictures."""
    tokens = [child for token in MarkdownIt().parse(text) for child in token.children or ()]
    found = [str(token.attrs.get("href") or token.attrs.get("src") or "") for token in tokens]
    return [link.partition("#")[0] for link in found if link and not link.startswith(("http", "#"))]


def run(page: Path, folder: Path) -> int:
    """Run a page in a folder that is the working directory; how many blocks ran."""
    shutil.copytree(ROOT / "models", folder / "models", dirs_exist_ok=True)  # a page may write there
    names, ran = {"__name__": "__main__"}, 0
    for block in blocks(page.read_text(encoding="utf-8")):
        if block.file and not block.excuse:
            Path(block.file).parent.mkdir(parents=True, exist_ok=True)
            Path(block.file).write_text(block.text, encoding="utf-8")
        if block.runs:
            RUNNERS[block.language](block, page, names)
            ran += 1
    return ran


def _python(block: Block, page: Path, names: dict[str, Any]) -> None:
    exec(compile("\n" * (block.line - 1) + block.text, str(page), "exec"), names)


def _pycon(block: Block, page: Path, names: dict[str, Any]) -> None:
    test = doctest.DocTestParser().get_doctest(block.text, names, page.name, str(page), block.line)
    runner, said = doctest.DocTestRunner(optionflags=FLAGS), list[str]()
    runner.run(test, out=said.append, clear_globs=False)
    names.update(test.globs)
    assert not runner.failures, "".join(said)


def _shell(block: Block, page: Path, names: dict[str, Any]) -> None:
    code, said = _bash("set -euo pipefail\n" + block.text)
    assert code == 0, f"{page}:{block.line}: exit code {code}\n{said}"


def _console(block: Block, page: Path, names: dict[str, Any]) -> None:
    """All commands share one shell; after each, its exit code is noted and restored, so that ``echo $?`` shows it."""
    commands = [(command.replace("\n> ", "\n"), shown) for command, shown in _shown(block.text)]
    noted = "".join(f"{command}\n_c=$?; printf '{END}%s{END}' $_c; (exit $_c)\n" for command, _ in commands)
    _, said = _bash(noted)
    parts = said.split(END)
    for (command, shown), out, code in zip(commands, parts[::2], parts[1::2], strict=False):
        where = f"{page}:{block.line}: $ {command}\n"
        assert shown or code == "0", f"{where}exit code {code}\n{out}"
        assert not shown or _alike(shown, out), f"{where}{out}\nis not what is shown:\n{shown}"
    assert len(parts) == 2 * len(commands) + 1, f"{page}:{block.line}: the shell ended early\n{said}"


def _alike(shown: str, out: str) -> bool:
    parts = (re.escape(" ".join(part.split())) for part in shown.split("..."))
    return re.fullmatch(".*".join(parts), " ".join(out.split())) is not None


def _shown(text: str) -> Iterator[tuple[str, str]]:
    """Each command, and what is shown to come of it."""
    starts = [match.start() for match in re.finditer(r"^\$ ", text, re.MULTILINE)]
    for start, end in pairwise([*starts, len(text)]):
        lines = text[start + 2 : end].splitlines(keepends=True)
        length = next(n for n, line in enumerate(lines, 1) if not line.endswith("\\\n"))
        yield "".join(lines[:length]).rstrip("\n"), "".join(lines[length:])


def _bash(script: str) -> tuple[int, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    alone = {"OPENBLAS_NUM_THREADS": "1"}  # threads that wait for a processor slow small matrices down
    environment = {**os.environ, **alone, "PATH": path, "PYTHONPATH": str(ROOT), "ROOT": str(ROOT), "COLUMNS": "100"}
    words = ["bash", "-c", PRELUDE + script]
    done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout


RUNNERS = {"python": _python, "pycon": _pycon, "sh": _shell, "bash": _shell, "console": _console}

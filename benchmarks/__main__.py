"""The one command for all benchmarks: machine, versions and figures, as tables to read and as JSON to keep.

A benchmark is a module of this folder with a function ``main(args)`` that yields rows of figures by name. The first
line of its docstring is its title. One that says ``ON_REQUEST = "why"`` runs only when it is named; one with options of
its own has a function ``arguments(group)`` that adds them.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

import benchmarks
from benchmarks.data import MODELS, ZOO
from benchmarks.machine import load, machine, versions
from onnxprune.errors import unknown

__all__ = ["discovered", "main"]

WIDE = 200  # columns, where no terminal says how many there are
SPREAD = " ±"  # ends the name of a spread


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is named, by default all that need not be."""
    found = discovered()
    parser = _parser(found)
    args = parser.parse_args(argv)
    if strange := [name for name in args.names if name not in found]:
        parser.error(unknown("benchmark", strange[0], found))
    args.models = _models(args)
    names = args.names or [name for name, module in found.items() if not hasattr(module, "ON_REQUEST")]
    console = Console(stderr=True, highlight=False)
    console = console if console.is_terminal else Console(stderr=True, highlight=False, width=WIDE)
    result: dict[str, Any] = {"schema": 1, "machine": machine(), "versions": versions(), "benchmarks": {}}
    for part in ("machine", "versions"):
        console.print(_table([{part: name, "": value} for name, value in result[part].items()]), "")
    for name in dict.fromkeys(names):
        result["benchmarks"][name] = ran = _run(found[name], args, console)
        console.print(f"[bold]{ran['title']}[/] ({ran['seconds']:.1f} s)", _table(ran["figures"]), "", sep="\n")
    _write(json.dumps(result, indent=2, ensure_ascii=False) + "\n", args.output)


def discovered() -> dict[str, ModuleType]:
    """The benchmarks of this folder by name."""
    names = sorted(each.name for each in iter_modules(benchmarks.__path__) if each.name[0] != "_")
    modules = {name: import_module(f"benchmarks.{name}") for name in names}
    return {name: module for name, module in modules.items() if hasattr(module, "main")}


def _parser(found: Mapping[str, ModuleType]) -> argparse.ArgumentParser:
    lines = [f"  {name:10}  {_title(each)}{' *' * hasattr(each, 'ON_REQUEST')}" for name, each in found.items()]
    text = "\n".join(["benchmarks (those with * run only when they are named):", *lines])
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__, epilog=text, formatter_class=form)
    parser.add_argument("names", nargs="*", metavar="NAME", help="what to run")
    parser.add_argument(
        "--zoo", nargs="?", type=Path, const=ZOO, metavar="FOLDER", help=f"its networks; default: {ZOO}"
    )
    parser.add_argument("--only", default="*", metavar="PATTERN", help="the networks whose names match")
    parser.add_argument("--macs", default="50%", help="what pruning leaves (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=9, metavar="N", help="of each command (default: %(default)s)")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="for the JSON; default: standard output")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="of what is random (default: %(default)s)")
    parser.add_argument(
        "--page", type=Path, metavar="FILE", help="for the tables as a page, of a benchmark that has one"
    )
    parser.add_argument("--torch", type=Path, metavar="PYTHON", help="of an environment with benchmarks/coverage.txt")
    for name, module in found.items():
        if hasattr(module, "arguments"):
            module.arguments(parser.add_argument_group(name))
    return parser


def _models(args: argparse.Namespace) -> list[Path]:
    folder = args.zoo or MODELS
    models = [path for path in sorted(folder.glob("*.onnx")) if fnmatch(path.stem, args.only)]
    return models or sys.exit(f"there is no network '{args.only}' in {folder}")


def _run(module: ModuleType, args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """What a benchmark yields; what it yielded until then where it is interrupted."""
    start, before, rows = time.perf_counter(), load(), list[dict[str, Any]]()
    with suppress(KeyboardInterrupt):
        for row in module.main(args):
            rows.append(dict(row))
            console.print(f"{time.perf_counter() - start:6.1f} s  {next(iter(row.values()))}", style="dim")
    seconds = time.perf_counter() - start
    return {"title": _title(module), "seconds": seconds, "load": [before[0], load()[0]], "figures": rows}


def _title(module: ModuleType) -> str:
    return (module.__doc__ or module.__name__).partition("\n")[0]


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """The rows, or where they have more figures than there are rows, the figures line by line."""
    names = [name for name in dict.fromkeys(name for row in rows for name in row) if not name.endswith(SPREAD)]
    lines: Iterable[Sequence[str]] = [names, *([_cell(row, name) for name in names] for row in rows)]
    if len(names) > len(rows):
        lines = list(zip(*lines, strict=True))
    head, *body = lines
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for index, name in enumerate(head):
        table.add_column(name, justify="right" if index else "left", overflow="fold")
    for line in body:
        table.add_row(*line)
    return table


def _cell(row: Mapping[str, Any], name: str) -> str:
    """A figure, and the spread that stands beside it in the row as ``name ±``."""
    spread = row.get(f"{name}{SPREAD}")
    return _shown(row.get(name)) if spread is None else f"{_shown(row.get(name))} ± {spread:.2g}"


def _shown(figure: Any) -> str:
    if isinstance(figure, int) and not isinstance(figure, bool):
        return f"{figure:,}"
    if isinstance(figure, float):
        return f"{figure:.3g}" if abs(figure) < 100 else f"{figure:,.0f}"
    if isinstance(figure, list):
        return " ".join(map(_shown, figure))
    return "" if figure is None else str(figure)


def _write(text: str, path: Path | None) -> None:
    if path is None:
        sys.stdout.write(text)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

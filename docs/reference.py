"""The reference pages, read off the code: passes, command line, report, Python names. Nothing here can go stale.

python docs/reference.py FOLDER     # writes them as MyST Markdown; the site does so at every build
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import onnxprune
from onnxprune import arguments, options, registry
from onnxprune.axes import rules
from onnxprune.backends.targets import load_target, target_names
from onnxprune.curves.curves import schema as curves
from onnxprune.explained.explanation import schema as explained
from onnxprune.importance import CRITERIA
from onnxprune.importance.evidence import Need
from onnxprune.report import schema

__all__ = ["pages", "write"]

AUTHORS = {  # what authors of passes and rules import besides the public names
    "onnxprune.options": "Options of a pass",
    "onnxprune.units": "Shares and amounts",
    "onnxprune.node": "Views of a graph",
    "onnxprune.axes.facts": "Facts",
    "onnxprune.axes.rules": "Rules",
    "onnxprune.plan": "Candidates and plans",
}


def write(folder: Path) -> None:
    """Bring the folder in step with the code; a file that is right already keeps its date."""
    wanted = {folder / name: text for name, text in pages()}
    for path, text in wanted.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    for path in set(folder.rglob("*.md")) - wanted.keys():
        path.unlink()


def pages() -> Iterator[tuple[str, str]]:
    """Every page: its path, and its text."""
    names = registry.names()
    yield "command-line.md", command_line()
    yield "passes.md", _index("Passes", [f"pass-{name}" for name in names], _table(registry.summaries().items()))
    yield from ((f"pass-{name}.md", one_pass(name)) for name in names)
    yield "criteria.md", criteria()
    yield "operators.md", operators()
    yield "targets.md", targets()
    yield "report.md", report()
    yield "explanation.md", explanation()
    yield "sensitivity.md", sensitivity()
    yield "python.md", python()
    yield "authors.md", authors()


def _index(title: str, entries: list[str], body: str) -> str:
    return "\n".join([f"# {title}\n", body, "```{toctree}", ":hidden:", "", *entries, "```", ""])


def _table(rows: Any) -> str:
    lines = [f"| [`{name}`](pass-{name}.md) | {text} |" for name, text in rows]
    return "\n".join(["| pass | what it does |", "|---|---|", *lines, ""])


def one_pass(name: str) -> str:
    """A pass: its docstring, what it needs, and its options."""
    cls = registry.load(name)
    blocks = [f"# {name}", options.doc(cls)]
    if needs := getattr(cls, "requires", ()):
        blocks.append(f"It needs {' and '.join(needs)}.")
    told = options.told(cls)
    blocks.append("## Options" if told else "It has no options.")
    blocks += [_entry(f"`{each.name}`", each.help, f"*{each.allowed}; {each.state}*") for each in told]
    if law := _module_doc(cls):
        blocks += ["## How", law]
    return "\n\n".join(blocks) + "\n"


def _module_doc(cls: type) -> str:
    return (sys.modules[cls.__module__].__doc__ or "").strip()


def _entry(term: str, *lines: str) -> str:
    return "\n".join([term, *(f": {line}\n" for line in lines if line)])


def command_line() -> str:
    """The command: usage, the options by group, exit codes."""
    parser = arguments.parser()
    usage = parser.format_usage().removeprefix("usage: ").strip()
    blocks = ["# Command line", parser.description or "", f"```text\n{usage}\n```", "```{program} onnxprune\n```"]
    for group in parser._action_groups:
        shown = [action for action in group._group_actions if action.help is not argparse.SUPPRESS]
        if shown:
            blocks += [f"## {_title(group.title or '')}", *(_option(action) for action in shown)]
    return "\n\n".join([*blocks, "## Example and exit codes", f"```text\n{parser.epilog}```", ""])


def _title(text: str) -> str:
    return text[:1].upper() + text[1:]


def _option(action: argparse.Action) -> str:
    value = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
    forms = ", ".join(f"{name}{value}" for name in action.option_strings) or str(action.metavar)
    return f"```{{option}} {forms}\n{(action.help or '').replace('%%', '%')}\n```"


def criteria() -> str:
    """Every criterion that channels are chosen by: what it says, with its source, and what it needs."""
    rows = [f"| `{name}` | {_cell(type(each).__doc__)} | {_needs(each.needs)} |" for name, each in CRITERIA.items()]
    blocks = [
        "# Criteria",
        "`prune:importance=NAME` says by which criterion channels are put in order, the least important first. Scores"
        " of layers that make or read the same channels add up, each as its share of the layer.",
        "\n".join(["| name | what it goes by | needs |", "|---|---|---|", *rows]),
    ]
    return "\n\n".join([*blocks, ""])


def _cell(text: str | None) -> str:
    """A docstring as the cell of a table."""
    return " ".join((text or "").split()).replace("|", "\\|")


def _needs(needs: Iterable[Need]) -> str:
    words: dict[Need, str] = {"data": "`--calib`", "relu": "ReLU", "gain": "BatchNormalization or `--calib`"}
    return ", ".join(words[need] for need in sorted(needs)) or "nothing"


def operators() -> str:
    """What is declared of every operator: those with a rule by family, the others by reason."""
    families: dict[str, dict[str, list[str]]] = {}
    barriers: dict[str, list[str]] = {}
    for each in rules.declarations():
        if each.rule is None:
            barriers.setdefault(each.barrier or "", []).append(f"`{each.operator}`")
        else:
            family = families.setdefault(each.rule.__module__, {})
            family.setdefault(_first(each.rule.__doc__), []).append(f"`{each.operator}`")
    counts = [sum(map(len, said.values())) for said in families.values()]
    blocks = [
        "# Operators",
        f"{sum(counts)} operators have a rule, in {len(counts)} families: what it says is checked against the operator"
        f" itself, slot by slot. {sum(map(len, barriers.values()))} stay whole, each for a reason; so do operators that"
        " are not listed here.",
    ]
    for module, said in sorted(families.items()):
        title = module.rpartition(".")[2].replace("_", " ")
        blocks += [f"## {_title(title)}", _first(import_module(module).__doc__), _rows("what passes", said)]
    return "\n\n".join([*blocks, "## Left whole", _rows("why", barriers), ""])


def _first(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0]


def _rows(head: str, said: Mapping[str, list[str]]) -> str:
    rows = [f"| {' '.join(names)} | {why} |" for why, names in said.items()]
    return "\n".join([f"| operators | {head} |", "|---|---|", *rows])


def targets() -> str:
    """The machines that models can be compiled for."""
    found = [load_target(name) for name in target_names()]
    rows = [f"| `{t.name}` | {t.triple} | {t.cpu or 'the processor of this machine'} |" for t in found]
    head = [
        "# Targets",
        "",
        "`--target NAME` compiles for one of these.",
        "",
        "| name | runs | processor |",
        "|---|---|---|",
    ]
    return "\n".join([*head, *rows, ""])


def report() -> str:
    """The report's keys, from its JSON schema."""
    top = schema()
    return _keys("Report", f"`report.json` holds what was done and what came of it. {top['description']}", top)


def explanation() -> str:
    """The keys of an explanation, from its JSON schema."""
    top = explained()
    return _keys("Explanation", f"What `--explain --format=json` prints. {top['description']}", top)


def sensitivity() -> str:
    """The keys of the curves, from their JSON schema."""
    top = curves()
    return _keys("Sensitivity", f"What `--sensitivity` writes into `sensitivity.json`. {top['description']}", top)


def _keys(name: str, text: str, top: Mapping[str, Any]) -> str:
    blocks = [f"# {name}", text]
    for title, part in ((f"the {name.lower()}", top), *top["$defs"].items()):
        if "properties" in part:
            rows = [_key(key, each, top) for key, each in part["properties"].items()]
            blocks += [f"## {_title(title)}", "\n".join(["| key | value | meaning |", "|---|---|---|", *rows])]
    return "\n\n".join(blocks) + "\n"


def _key(key: str, part: Mapping[str, Any], top: Mapping[str, Any]) -> str:
    return f"| `{key}` | {_kind(part, top)} | {part.get('description', '')} |"


def _kind(part: Mapping[str, Any], top: Mapping[str, Any]) -> str:
    """The values that a part of the schema allows, in words."""
    if "$ref" in part:
        name = part["$ref"].rpartition("/")[2]
        return f"[{name}](#{name})" if "properties" in top["$defs"][name] else str(name)
    if "oneOf" in part:
        return " or ".join(_kind(each, top) for each in part["oneOf"])
    if "const" in part or "enum" in part:
        return " or ".join(f"`{value}`" for value in part.get("enum", [part.get("const")]))
    if part.get("type") == "array":
        return f"list of {_kind(part['items'], top)}"
    if "properties" in part:
        return f"object of {', '.join(f'`{key}`' for key in part['properties'])}"
    kinds = part.get("type", "any")
    return " or ".join(kinds) if isinstance(kinds, list) else str(kinds)


def python() -> str:
    """The public names, each with what its docstring says."""
    blocks = ["# Python", "Everything here is imported from `onnxprune` itself."]
    blocks += [_documented(f"onnxprune.{name}") for name in sorted(onnxprune.__all__, key=_order) if name[0] != "_"]
    return "\n\n".join([*blocks, _documented("onnxprune.job.Given"), ""])


def _order(name: str) -> tuple[int, str]:
    """What most people need first, errors last."""
    first = ("compress", "Result", "Report", "Recipe", "Model")
    return (first.index(name) if name in first else 90 if name.endswith("Error") else 50, name)


def _documented(path: str) -> str:
    module, _, name = path.rpartition(".")
    found = getattr(import_module(module), name)
    kind = "function" if not isinstance(found, type) else "exception" if issubclass(found, Exception) else "class"
    return f"## {name}\n\n```{{eval-rst}}\n.. auto{kind}:: {path}\n```"


def authors() -> str:
    """The modules that authors of passes and rules import from."""
    blocks = ["# For authors of passes and rules", "What a pass or an operator rule imports besides the public names."]
    for module, title in AUTHORS.items():
        blocks += [f"## {title}", f"```{{eval-rst}}\n.. automodule:: {module}\n```"]
    return "\n\n".join(blocks) + "\n"


if __name__ == "__main__":
    write(Path(sys.argv[1]))

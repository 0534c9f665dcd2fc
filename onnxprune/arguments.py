"""The command line as data: what the options are called, and what is said of them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from onnxprune.errors import UsageError, unknown

__all__ = ["parse", "parser"]

USAGE = "onnxprune MODEL --passes fold,prune:macs=50%% -o DIR [option ...]"
FORMATS = {"explain": ("text", "json", "dot", "svg"), "sensitivity": ("text", "json", "svg")}  # of what is asked
USEFUL = {
    "explain": (),
    "sensitivity": ("importance", "calib", "test", "preprocess", "labels", "metric", "shapes", "seed", "jobs"),
}
DESCRIPTION = "Make a neural network small and fast at the level of the ONNX graph."
EPILOG = """\
example:
  onnxprune models/digits_resnet.onnx --passes fold,prune:macs=50% \\
    --calib models/digits.calib.npz --test models/digits.test.npz --target host -o build/

  halves the multiply-accumulates of a network, heals it on calibration samples, compares it with the original on test
  samples, and writes build/model.onnx, build/prune.json, build/report.json and build/host/model.so.

sweep:
  onnxprune models/digits_resnet.onnx --passes fold,prune --sweep macs=30..90%:step=10% \
    --calib models/digits.calib.npz --test models/digits.test.npz --max-drop 1 -o build/

  runs the passes at 30%, 40% … 90%, measures every point, and writes build/sweep.json and build/sweep.svg, a picture of
  what each costs and is worth. Nothing is compiled and no model is kept: each point names the --passes that give its
  very model. The exit code is 1 when no point reaches its goals (budgets, --max-drop).

explanation:
  onnxprune --explain models/digits_resnet.onnx
  onnxprune --explain=/classifier/Gemm models/digits_resnet.onnx

  lists the groups of channels that live or die together, and tells why a layer can or cannot be cut, with the way from
  it to what is in the way.

sensitivity:
  onnxprune models/digits_resnet.onnx --sensitivity --calib models/digits.calib.npz -o build/

  shows what the network loses with more and more of the channels that live or die together, most sensitive first, and
  writes build/sensitivity.json and build/sensitivity.svg. --sensitivity=exact cuts and measures 10%, 20% … 90% of each.

exit codes:
  0    done
  1    done and written, but a goal was missed: a budget, or --max-drop
  2    a wrong option, recipe, budget or data file; an output that cannot be written
  3    a model that cannot be read, is invalid or not supported
  4    a pass failed
  5    a backend is missing or failed; with --target, an output that cannot be written
  70   a bug in onnxprune
  130  interrupted
  On 2 and above nothing is written to DIR, and what is there stays as it is.
"""


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The arguments, as far as argparse can tell their sense; raises UsageError for the others."""
    accepted = parser()
    args, strange = accepted.parse_known_args(_spelled_out(sys.argv[1:] if argv is None else argv))
    if options := [word for word in strange if word.startswith("-")]:
        known = [name for action in accepted._actions for name in action.option_strings]
        raise UsageError(unknown("option", options[0].partition("=")[0], known))
    if strange:
        raise UsageError(f"'{strange[0]}' is one argument too many; give one model, and --help tells the options")
    args.shapes = _unique(args.shapes)
    if args.list_passes or args.list_targets or args.help_pass or args.cmake_dir or args.version:
        return args
    if args.sensitivity not in (None, "", "exact"):
        raise UsageError(f"--sensitivity: {unknown('way', args.sensitivity, ['exact'])}")
    if not args.model:
        raise UsageError("there is no model: give the ONNX file to compress; --help tells more")
    if asked := next((name for name in FORMATS if getattr(args, name) is not None), None):
        _check_alone(asked, args, accepted.parse_args([]))
        return args
    if args.format:
        raise UsageError("--format is that of an answer; give --explain or --sensitivity along with it")
    if args.importance:
        raise UsageError("--importance goes with --sensitivity; for a pass write --passes prune:importance=…")
    if args.sweep and (args.save_after or args.time_passes):
        option = "--save-after" if args.save_after else "--time-passes"
        raise UsageError(f"{option} tells of one run, and --sweep makes many; leave out one of both")
    if not args.output and not args.dry_run:
        raise UsageError("there is nowhere to write to: give -o DIR, or --dry-run to write nothing")
    return args


def _spelled_out(words: Sequence[str]) -> list[str]:
    """An --explain or --sensitivity without a value takes none of the words that follow."""
    return [f"{word}=" if word in ("--explain", "--sensitivity") else word for word in words]


def _check_alone(asked: str, args: argparse.Namespace, defaults: argparse.Namespace) -> None:
    """Refuse what is of no use to the answer that is asked for."""
    if args.format not in (None, *FORMATS[asked]):
        raise UsageError(f"--format: {unknown('format', args.format, FORMATS[asked])}")
    useful = (*USEFUL[asked], asked, "model", "format", "output", "verbose", "quiet")
    others = [name for name in vars(args) if name not in useful and getattr(args, name) != getattr(defaults, name)]
    if others:
        option = {"targets": "target", "shapes": "shape"}.get(others[0], others[0].replace("_", "-"))
        raise UsageError(f"--{asked} tells of the model as it is, and --{option} of what to do with it; leave out one")


class _Parser(argparse.ArgumentParser):
    """argparse whose errors are ours: one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def parser() -> argparse.ArgumentParser:
    """The options with their help, which the documentation reads too."""
    made = _Parser(
        prog="onnxprune",
        usage=USAGE,
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("model", metavar="MODEL", nargs="?", help="the ONNX file to compress; it stays as it is")
    for group in (_what, _data, _output, _answers, _checks, _information):
        group(made)
    return made


def _what(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to do (options stand above the recipe)")
    group.add_argument("--passes", metavar="LIST", help="passes in order, as name:key=value:key=value,name2")
    group.add_argument("--recipe", metavar="FILE", help="a TOML file that says what to do")
    form, text = "KEY=A..B:step=C", "run the passes for each value of an option (or KEY=A,B,C) and compare; see below"
    group.add_argument("--sweep", metavar=form, help=text)
    form, text = "NAME=1,3,224,224", "the shape of a graph input whose sizes are open; repeatable"
    group.add_argument("--shape", dest="shapes", action="append", type=_shape, metavar=form, help=text)
    text = "compile for this machine; repeatable"
    group.add_argument("--target", dest="targets", action="append", metavar="NAME", help=text)
    group.add_argument("--seed", type=int, metavar="N", help="for all that is drawn at random (default: 0)")


def _data(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("data and goals")
    text = "calibration samples: .npz, .npy, a folder of images, .npy or .npz, or 'random' for a dry trial"
    group.add_argument("--calib", metavar="DATA", help=text)
    group.add_argument("--test", metavar="DATA", help="samples to measure on, perhaps with labels; the same forms")
    text = "how pixels become what the graph reads, as mean=0.5,std=0.5: scale, mean, std, size, fit, order ..."
    group.add_argument("--preprocess", metavar="LIST", help=text)
    text = "a CSV file: a file name of the folder and its label on each line (default: the names of sub-folders)"
    group.add_argument("--labels", metavar="FILE", help=text)
    group.add_argument(
        "--metric", metavar="MODULE:FUNCTION", help="(outputs, labels) -> score (default: top-1 accuracy)"
    )
    group.add_argument("--max-drop", type=float, metavar="POINTS", help="percentage points that the metric may fall")
    group.add_argument("--threads", type=int, metavar="N", help="of onnxruntime while latencies are taken (default: 1)")
    text = "work on so many points of a sweep or an exact sensitivity at once; results do not depend on it (default: 1)"
    group.add_argument("--jobs", type=int, metavar="N", help=text)


def _output(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    group.add_argument("-o", "--output", metavar="DIR", help="the folder to write to")
    group.add_argument("--report", metavar="FILE", help="write the report as JSON here too; - is standard output")
    text = "write what DIR/model.onnx is made of here, for Make and Ninja"
    group.add_argument("--depfile", metavar="FILE", help=text)
    group.add_argument(
        "--dry-run",
        action="store_true",
        help="run the passes and show the report; compile nothing, write nothing to DIR",
    )
    loudness = group.add_mutually_exclusive_group()
    loudness.add_argument("-v", "--verbose", action="count", default=0, help="tell more; -vv tells everything")
    loudness.add_argument("-q", "--quiet", action="store_true", help="tell nothing but errors and missed goals")


def _answers(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("answers (no --passes are needed)")
    text = "tell which channels go together, and why some cannot; --explain=NODE: what is in the way of one operator"
    group.add_argument("--explain", nargs="?", const="", metavar="NODE", help=text)
    text = "what is lost with more and more of the channels, as prune plans with; --sensitivity=exact measures it"
    group.add_argument("--sensitivity", nargs="?", const="", metavar="exact", help=text)
    text = "by which the channels then go, as that of the pass prune (default: auto)"
    group.add_argument("--importance", metavar="NAME", help=text)
    text = (
        "text, json, svg or (of --explain) dot (default: text), on standard output; an explanation goes to the file"
        " -o FILE, a sensitivity as JSON and SVG into the folder -o DIR too"
    )
    group.add_argument("--format", metavar="FORM", help=text)


def _checks(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("for authors of passes")
    group.add_argument("--verify-each", action="store_true", help="check that every pass told the truth; slow")
    group.add_argument("--save-after", type=Path, metavar="DIR", help="write the model after each pass here")
    group.add_argument("--time-passes", action="store_true", help="show which pass took how long")


def _information(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("information (no MODEL is needed)")
    group.add_argument("--list-passes", action="store_true", help="the passes that are installed")
    group.add_argument("--list-targets", action="store_true", help="the machines that models can be compiled for")
    group.add_argument("--help-pass", metavar="NAME", help="what a pass does, and its options")
    text = "the folder of OnnxPrune.cmake, for CMake projects"
    group.add_argument("--cmake-dir", action="store_true", help=text)
    group.add_argument("--version", action="store_true", help="the version of onnxprune")


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    name, _, sizes = text.rpartition("=")
    try:
        shape = tuple(int(size) for size in sizes.split(","))
    except ValueError:
        shape = ()
    if not name or not shape:
        raise argparse.ArgumentTypeError(f"cannot read '{text}'; write it as input=1,3,224,224")
    return name, shape


def _unique(shapes: list[tuple[str, tuple[int, ...]]] | None) -> dict[str, tuple[int, ...]] | None:
    if shapes is None:
        return None
    names = [name for name, _ in shapes]
    if twice := [name for place, name in enumerate(names) if name in names[:place]]:
        raise UsageError(f"--shape of '{twice[0]}' is given twice; give it once")
    return dict(shapes)

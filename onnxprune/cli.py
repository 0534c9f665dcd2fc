"""The command ``onnxprune``: arguments in, ``compress``, and what came of it out; no logic of its own.

Data goes to standard output, all that people read to standard error. The exit code is 0 when all is done, 1 when it is
done but a goal was missed, that of the error (``errors.py``) when there was one, 130 when interrupted (143 when
terminated), and 70 (EX_SOFTWARE) for a bug in onnxprune, which is neither the user's fault nor a pass's. Whatever is
imported costs time: ``--help`` needs argparse alone, so everything else is imported where it is used.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, cast

from onnxprune.arguments import parse
from onnxprune.errors import OnnxPruneError, UsageError

if TYPE_CHECKING:
    from argparse import Namespace

    from rich.console import Console

    from onnxprune.job import Given
    from onnxprune.report import Report
    from onnxprune.sweeps.sweep import Sweep

__all__ = ["command", "main"]

BUG = 70
WIDTH = 100  # of an explanation that goes to no terminal
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    loud, caught = False, list[signal.Signals]()
    with _orderly(caught):
        try:
            with _flushed():
                args = parse(argv)
                loud = args.verbose > 0
                with _logging(args.verbose):
                    return _work(args)
        except BaseException as error:
            if isinstance(error, SystemExit) and not caught:  # --help, or words that mean nothing
                return int(error.code or 0)
            return _complain(*_verdict(error, caught, loud))


def command() -> int:
    """``main`` as a process of its own: once there is an exit code, no signal on the way out makes it another."""
    code = main()
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    return code


def _verdict(error: BaseException, caught: Sequence[signal.Signals], loud: bool) -> tuple[str, int]:
    """What to say of an error, and the exit code; after a signal it may have become any error on its way."""
    if caught or isinstance(error, KeyboardInterrupt):
        number = caught[0] if caught else signal.SIGINT
        return "interrupted" if number == signal.SIGINT else "terminated", 128 + number
    if isinstance(error, OnnxPruneError):
        return f"error: {error}", error.exit_code
    if loud:
        _trace()
    way_out = "please report it" if loud else "run with -v for the traceback"
    return f"internal error: {type(error).__name__}: {error}; {way_out}", BUG


def _work(args: Namespace) -> int:
    if _asks(args):
        return _inform(args)
    if args.explain is not None:
        return _explain(args)
    return _compress(args) if args.sensitivity is None else _sensitivity(args)


def _asks(args: Namespace) -> bool:
    return bool(args.version or args.list_passes or args.list_targets or args.help_pass or args.cmake_dir)


def _inform(args: Namespace) -> int:
    """Print what is asked for, and compress nothing."""
    if args.version:
        from importlib.metadata import version

        _print(f"onnxprune {version('onnxprune')}\n")
    if args.list_passes:
        from onnxprune import registry

        _print(_columns(registry.summaries().items()))
    if args.list_targets:
        from onnxprune.backends.targets import load_target, target_names

        targets = [load_target(name) for name in target_names()]
        _print(_columns((t.name, f"{t.triple}, {t.cpu or 'the processor of this machine'}") for t in targets))
    if args.help_pass:
        from onnxprune import options, registry

        _print(options.help_text(registry.load(args.help_pass)))
    if args.cmake_dir:
        _print(f"{Path(__file__).parent / 'cmake'}\n")
    return 0


def _explain(args: Namespace) -> int:
    """Print an explanation, or write it to a file."""
    from onnxprune.explained.explain import explain
    from onnxprune.output import check_file, spare, write_atomically

    if args.output:
        check_file(Path(args.output))
        spare([args.model], [Path(args.output)])
    found = explain(args.model, args.explain or None)
    width, colour = _look(not args.output)
    forms = {"json": found.to_json, "dot": found.to_dot, "svg": found.to_svg}
    form = forms.get(args.format, partial(found.text, width, colour=colour))
    if args.output:
        write_atomically(Path(args.output), form().encode())
    else:
        _print(form())
    return 0


def _sensitivity(args: Namespace) -> int:
    """Print what is lost with channels, and write it to a folder where there is one."""
    from onnxprune.curves.run import TAKEN, sensitivity
    from onnxprune.progress import Progress

    args.progress = Progress.silent() if args.quiet else Progress.stderr()
    given = cast("Given", {name: value for name, value in vars(args).items() if name in TAKEN})
    exact, importance = args.sensitivity == "exact", args.importance or "auto"
    found = sensitivity(args.model, importance=importance, exact=exact, output=args.output, **given)
    width, colour = _look(True)
    forms = {"json": found.to_json, "svg": found.to_svg}
    _print(forms.get(args.format, partial(found.text, width, colour=colour))())
    return 0


def _look(printed: bool) -> tuple[int, bool]:
    """How wide a text is, and whether it has colours."""
    terminal = printed and sys.stdout.isatty()
    return shutil.get_terminal_size().columns if terminal else WIDTH, terminal and "NO_COLOR" not in os.environ


def _compress(args: Namespace) -> int:
    from onnxprune.compression import compress
    from onnxprune.job import Given
    from onnxprune.output import check_file, spare
    from onnxprune.progress import Progress

    if args.report and args.report != "-":
        check_file(Path(args.report))
        spare([args.model, args.recipe, args.calib, args.test, args.labels], [Path(args.report)])
    args.progress = Progress.silent() if args.quiet else Progress.stderr()
    given = cast("Given", {name: value for name, value in vars(args).items() if name in Given.__annotations__})
    output = None if args.dry_run else args.output
    if args.sweep is not None:
        from onnxprune.sweeps.run import sweep

        return _show(sweep(args.model, args.passes, over=args.sweep, recipe=args.recipe, output=output, **given), args)
    report = compress(args.model, args.passes, recipe=args.recipe, output=output, **given).report
    code = _show(report, args)
    if args.time_passes and not args.quiet:
        from onnxprune.table import render_times

        with suppress(OSError):
            render_times(report, _console())
    return code


def _show(report: Report | Sweep, args: Namespace) -> int:
    if args.report == "-":
        _print(report.to_json())
    elif args.report:
        report.to_json(args.report)
    if args.quiet:
        for goal in report.missed:
            _complain(f"goal missed: {goal}", 1)
    else:
        with suppress(OSError):  # nobody reads it
            report.render(_console(), verbose=args.verbose > 0)
    return int(bool(report.missed))


def _console() -> Console:
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def _columns(rows: Iterable[tuple[str, str]]) -> str:
    lines = list(rows)
    width = max((len(name) for name, _ in lines), default=0)
    return "".join(f"{name:{width}}  {text}\n" for name, text in lines)


def _print(text: str) -> None:
    """Write data; a reader that went away (``| head``) is no error."""
    with _printing():
        _write(sys.stdout, text)


@contextmanager
def _printing() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        pass
    except OSError as error:
        where = f"cannot write to standard output: {error.strerror}"
        raise UsageError(f"{where}; send it elsewhere") from error


def _complain(text: str, code: int) -> int:
    with suppress(OSError):
        _write(sys.stderr, f"onnxprune: {text}\n")
    return code


def _trace() -> None:
    import traceback

    traceback.print_exc()


@contextmanager
def _flushed() -> Iterator[None]:
    """Flush here rather than at exit, where a reader that went away would leave a message and another exit code."""
    try:
        yield
    finally:
        with suppress(OSError):
            _write(sys.stderr)
        with _printing():
            _write(sys.stdout)


def _write(stream: TextIO, text: str = "") -> None:
    try:
        stream.write(text)
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # what is left goes there at exit
        raise


@contextmanager
def _orderly(caught: list[signal.Signals]) -> Iterator[None]:
    """Let the first signal unwind the stack, so that drafts are removed; more of them do not disturb that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {each: handler for each in SIGNALS if (handler := signal.getsignal(each)) is not signal.SIG_IGN}

    def unwind(number: int, _: object) -> None:
        if not caught:
            caught.append(signal.Signals(number))
            raise SystemExit  # a KeyboardInterrupt within exec(), as of dataclasses, makes `python -m` kill itself

    for each in before:
        signal.signal(each, unwind)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextmanager
def _logging(verbose: int) -> Iterator[None]:
    """Log to standard error, INFO with -v and DEBUG with -vv."""
    if not verbose:
        yield
        return
    import logging

    root = logging.getLogger()
    handler, level = logging.StreamHandler(sys.stderr), root.level
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    root.addHandler(handler)
    root.setLevel(logging.INFO if verbose == 1 else logging.DEBUG)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)

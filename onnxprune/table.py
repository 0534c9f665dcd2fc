"""The report for a person: what each pass did, what is left of the model, and what it is worth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from onnxprune.evaluate import Accuracy, Latency
    from onnxprune.report import Report

__all__ = ["columns", "data_notes", "render", "render_times", "size"]

WHERE = {"host": "on host", "qemu": "under QEMU", "none": "not run here"}
FEW = 4  # skipped places that are shown unless all are asked for


def render(report: Report, console: Console, *, verbose: bool = False) -> None:
    """Print the whole report, with every skipped place if ``verbose``."""
    tables = (_passes(report), _costs(report), _targets(report))
    blocks: tuple[Iterable[RenderableType], ...] = (
        _title(report),
        data_notes(report),
        *([table] for table in tables if table.row_count),
        _not_run(report),
        _fidelity(report),
        _skipped(report, verbose),
        _repairs(report) if verbose else (),
        _decided(report, verbose),
        _missed(report),
    )
    for block in filter(None, map(list, blocks)):
        console.print()
        for line in block:
            console.print(Padding(line, (0, 1), expand=False))


def render_times(report: Report, console: Console) -> None:
    """Print how long each pass took, the slowest first."""
    total = sum(each.seconds for each in report.passes)
    table = columns("time by pass", "seconds", "share")
    for each in sorted(report.passes, key=lambda each: -each.seconds):
        table.add_row(Text(each.name), f"{each.seconds:.3f}", f"{each.seconds / (total or 1):.1%}")
    table.add_row("all", f"{total:.3f}", "")
    console.print()
    console.print(Padding(table, (0, 1), expand=False))


def columns(*names: str) -> Table:
    """Columns of which all but the first hold figures."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for index, column in enumerate(names):
        table.add_column(column, justify="right" if index else "left")
    return table


def _title(report: Report) -> Iterator[Text]:
    yield Text(f"{report.input.path or 'the model'} → {report.output.path or '(not written)'}", "bold")


def data_notes(report: Report) -> Iterator[Text]:
    """What has to be said of the data: that it was made up, or that files were left out."""
    calib, measured = report.data.calib, report.data.measured
    if calib is not None and calib.random:
        yield Text("RANDOM INPUTS, NOT DATA: what the passes chose and healed is a dry trial.", "bold red")
    if measured is not None and measured.random:
        yield Text("RANDOM INPUTS, NOT DATA: errors and accuracy below say nothing of the model.", "bold red")
    for each in (calib, report.data.test):
        if each is not None and each.left_out:
            yield Text(f"{each.source}: {each.left_out} files that are no samples are left out (-v names them)", "dim")


def _passes(report: Report) -> Table:
    table = columns("pass", "seconds")
    table.add_column("what it did", overflow="fold")
    for each in report.passes:
        note = Text(each.note) if each.changed else Text(f"unchanged: {each.note}", "dim")
        if each.undone is not None:
            note = Text(each.note if each.note == each.undone else f"undone: {each.undone}", "bold")
        table.add_row(Text(each.name), f"{each.seconds:.2f}", note)
    return table


def _costs(report: Report) -> Table:
    before, after = report.input.stats, report.output.stats
    table = columns("", "before", "after", "")
    for name, b, a in (("parameters", before.params, after.params), ("MACs", before.macs, after.macs)):
        table.add_row(name, f"{b:,}", f"{a:,}", _left(b, a))
    table.add_row("weights", size(before.bytes), size(after.bytes), _left(before.bytes, after.bytes))
    b, a = before.peak_activation_bytes, after.peak_activation_bytes
    table.add_row("peak activation memory", size(b), size(a), _left(b, a))
    table.add_row("nodes", f"{before.nodes:,}", f"{after.nodes:,}", _left(before.nodes, after.nodes))
    if report.latency is not None:
        table.add_row(*_latency(report.latency))
    if report.accuracy is not None:
        table.add_row(*_accuracy(report.accuracy, _of(report)))
    return table


def _left(before: float, after: float) -> str:
    return "same" if before == after else f"{after / before:.1%} left" if before else "more"


def _latency(measured: Latency) -> tuple[str, str, str, str]:
    threads = f"{measured.threads} thread" + "s" * (measured.threads > 1)
    before = f"{measured.before_ms:.3f} ± {measured.before_iqr_ms:.3f} ms"
    after = f"{measured.after_ms:.3f} ± {measured.after_iqr_ms:.3f} ms"
    return f"latency ({threads})", before, after, f"{measured.before_ms / measured.after_ms:.2f}× as fast"


def _of(report: Report) -> str:
    """What the samples are, where that has to be said."""
    return " random inputs" if report.data.measured is not None and report.data.measured.random else ""


def _accuracy(measured: Accuracy, of: str) -> tuple[Text, str, str, str]:
    change = f"{-measured.drop:+.2f} points" if abs(measured.drop) >= 0.005 else "no change"
    name = measured.metric.rpartition(":")[2]
    return Text(f"{name} (n = {measured.n:,}{of})"), f"{measured.before:.4f}", f"{measured.after:.4f}", change


def _targets(report: Report) -> Table:
    table = columns("target", "size", "verified", "error", "latency")
    table.add_column("folder", overflow="fold")
    for each in report.targets:
        error = "" if each.max_rel_error is None else f"{each.max_rel_error:.1e}"
        latency = "" if each.latency_ms is None else f"{each.latency_ms:.3f} ms"
        verified = WHERE[each.verified]
        table.add_row(Text(each.name), size(each.bytes), verified, error, latency, Text(f"{each.artifact.parent}/"))
    return table


def _not_run(report: Report) -> Iterator[Text]:
    """Why libraries were not run, and what their folders lack."""
    for each in report.targets:
        if each.why is not None:
            yield Text(f"{each.name} was not run: {each.why}", "dim")
        if each.missing is not None:
            yield Text(f"{each.name} is not complete: {each.missing}", "bold")


def _fidelity(report: Report) -> Iterator[Text]:
    found = report.fidelity
    if found is None:
        yield Text("Not compared with the original: there is no data (--calib, --test).", "dim")
        return
    sqnr = "outputs equal" if found.sqnr_db is None else f"SQNR {found.sqnr_db:.1f} dB"
    agreement = "" if found.agreement is None else f", same class {found.agreement:.1%}"
    error = f"max abs error {found.max_abs_error:.3g}"
    n = f"{found.n:,}{_of(report)}"
    yield Text(f"Beside the original (n = {n}): cosine {found.cosine:.5f}, {sqnr}{agreement}, {error}.")


def _skipped(report: Report, verbose: bool) -> Iterator[Text]:
    places = [(each.name, skip) for each in report.passes for skip in each.skipped]
    if not places:
        return
    shown = places if verbose else places[:FEW]
    yield Text(f"Places left as they are: {len(places)}{' (-v shows all)' if len(shown) < len(places) else ''}")
    yield from (Text(f"  {name}: {skip.where}: {skip.why}", "dim") for name, skip in shown)


def _repairs(report: Report) -> Iterator[Text]:
    found = [(each.name, repair) for each in report.passes for repair in each.repairs]
    if found:
        yield Text("Layers with other weights, and their relative errors on samples that they were not fitted to:")
    for name, each in found:
        yield Text(f"  {name}: {each.where}: {each.before:.4f} → {each.after:.4f} ({each.how})", "dim")


def _decided(report: Report, verbose: bool) -> Iterator[RenderableType]:
    """Where nodes are computed, those first by which most is lost."""
    found = [(name, node) for each in report.passes for name, node in (each.decisions or {}).get("nodes", {}).items()]
    measured = [(name, node) for name, node in found if node["loss"] is not None]
    nodes = sorted(found if verbose else measured, key=lambda each: -(each[1]["loss"] or 0))
    if not nodes:
        return
    shown = nodes if verbose else nodes[:FEW]
    yield Text(f"Nodes by what is lost by each alone on integers: {'' if verbose else '(-v shows all)'}")
    table = columns("node", "loss", "MACs", "on")
    table.add_column("otherwise", overflow="fold")
    for name, node in shown:
        loss = "" if node["loss"] is None else f"{node['loss']:.2g}"
        table.add_row(Text(name), loss, f"{node['cost']:,.0f}", node["on"], Text(node["option"] or node["why"]))
    yield table


def _missed(report: Report) -> Iterator[Text]:
    yield from (Text(f"Goal missed: {goal}", "bold red") for goal in report.missed)


def size(count: int) -> str:
    """Bytes for a person: ``160.4 kB``."""
    if count < 1000:
        return f"{count} B"
    power = 1 if count < 10**6 else 2 if count < 10**9 else 3
    return f"{count / 1000**power:.1f} {' kMG'[power]}B"

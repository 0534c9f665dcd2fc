"""Fidelity, accuracy and latency: known figures for small nets, the digits, and what is refused."""

import json
import math
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import pytest

from onnxprune.calibrate import Calibration
from onnxprune.errors import ModelError, UsageError
from onnxprune.evaluate import Evaluator, compare, latency, load_metric
from onnxprune.model import Model

MODELS = Path(__file__).parents[1] / "models"
ROWS = {"x": np.float32([[1, 2, 3], [3, 2, 1], [1, 3, 2], [-1, -2, -3]])}


def net(signature, body):
    return Model(onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> net {signature} {{ {body} }}'))


def scaled(*weights):
    """y = x · weights, [N,3] → [N,3,1]: class scores that cannot be taken for a reconstruction."""
    held = ", ".join(map(str, weights))
    body = f"w = Constant<value = float[3] {{{held}}}>() s = Mul(x, w) a = Constant<value = int64[1] {{2}}>()"
    return net("(float[N,3] x) => (float[N,3,1] y)", f"{body} y = Unsqueeze(s, a)")


def data(model, **arrays):
    return Calibration.load({**ROWS, **arrays}, model)


@pytest.fixture(scope="module")
def same():
    return scaled(1.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def digits():
    model = Model.load(MODELS / "digits_cnn.onnx")
    return model, Calibration.load(MODELS / "digits.test.npz", model)


def test_equal_models_are_equal(same):
    fidelity = compare(same, same.copy(), data(same))
    assert asdict(fidelity) == {
        "max_abs_error": 0.0,
        "max_rel_error": 0.0,
        "cosine": 1.0,
        "sqnr_db": None,
        "agreement": 1.0,
        "n": 4,
    }


def test_figures_are_those_of_the_formulas(same):
    y = ROWS["x"].astype(np.float64)
    z = y * [1, 1, 0.5]
    fidelity = compare(same, scaled(1.0, 1.0, 0.5), data(same))
    assert fidelity.max_abs_error == 1.5
    assert fidelity.max_rel_error == 0.5
    assert fidelity.cosine == pytest.approx((y * z).sum() / np.linalg.norm(y) / np.linalg.norm(z))
    assert fidelity.sqnr_db == pytest.approx(10 * math.log10((y**2).sum() / ((y - z) ** 2).sum()))
    assert fidelity.agreement == 0.75


def test_figures_do_not_depend_on_the_number_of_batches(same):
    many = Calibration.load({"x": np.tile(ROWS["x"], (20, 1))}, same)
    once, often = (compare(same, scaled(1.0, 1.0, 0.5), d) for d in (data(same), many))
    assert (often.max_abs_error, often.agreement, often.n) == (once.max_abs_error, once.agreement, 80)
    assert often.sqnr_db == pytest.approx(once.sqnr_db)


@pytest.mark.parametrize(("bad", "cosine"), [("nan", 0.0), ("inf", 0.0), ("0", 0.0)])
def test_a_broken_result_has_finite_figures(same, bad, cosine):
    values = {"nan": np.nan, "inf": np.inf, "0": 0.0}
    proto = same.proto()
    for tensor in proto.graph.initializer:
        if tensor.dims[0] == 3:
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.full(3, values[bad], np.float32), tensor.name))
    fidelity = compare(same, Model(proto), data(same))
    assert fidelity.max_rel_error >= 1
    assert fidelity.cosine == cosine
    json.dumps(asdict(fidelity), allow_nan=False)


def test_enormous_outputs_have_finite_figures():
    models = [net("(double[N,3] x) => (double[N,3] y)", f"y = {op}(x)") for op in ("Neg", "Identity")]
    large = Calibration.load({"x": np.full((4, 3), 1e170)}, models[0])
    fidelity = compare(*models, large)
    assert fidelity.max_abs_error > 1e90
    json.dumps(asdict(fidelity), allow_nan=False)


def test_an_original_of_zeros_has_finite_figures():
    fidelity = compare(scaled(0.0, 0.0, 0.0), scaled(1.0, 1.0, 1.0), data(scaled(1.0, 1.0, 1.0)))
    assert fidelity.cosine == 0
    json.dumps(asdict(fidelity), allow_nan=False)


def test_infinities_that_stay_are_no_error():
    log = net("(float[N,3] x) => (float[N,3] y)", "y = Log(x)")
    zero = Calibration.load({"x": np.float32([[0, 1, -1]])}, log)  # -inf, 0, NaN
    assert compare(log, log.copy(), zero).sqnr_db is None


def test_the_worst_of_several_outputs_counts_whatever_its_type_and_rank():
    signature = "(float[N,3] x) => (float[N,3,1] y, int64[N] best, bool[N,3] positive, float total)"
    tail = (
        "a = Constant<value = int64[1] {2}>() y = Unsqueeze(x, a) z = Constant<value = float {0.0}>()"
        "positive = Greater(x, z) total = ReduceSum<keepdims=0>(x)"
    )
    first = net(signature, f"best = ArgMax<axis=1, keepdims=0>(x) {tail}")
    second = net(signature, f"best = ArgMin<axis=1, keepdims=0>(x) {tail}")
    fidelity = compare(first, second, data(first))
    assert (fidelity.max_abs_error, fidelity.max_rel_error, fidelity.agreement) == (2, 1, 1)


def test_the_lowest_sqnr_and_the_largest_error_of_either_sign_count():
    def pair(a, b):
        held = f"f = Constant<value = float {{{a}}}>() g = Constant<value = float {{{b}}}>()"
        return net("(float[N,3] x) => (float[N,3] y, float[N,3] z)", f"{held} y = Mul(x, f) z = Mul(x, g)")

    one = Calibration.load({"x": np.float32([[1, 2, 4]])}, pair(1.0, 1.0))
    for a, b in ((0.5, 0.875), (0.875, 0.5)):
        fidelity = compare(pair(1.0, 1.0), pair(a, b), one)
        assert (fidelity.max_abs_error, fidelity.max_rel_error) == (2, 0.5)
        assert fidelity.sqnr_db == pytest.approx(20 * math.log10(2))


def test_an_output_of_another_shape_is_wholly_wrong(same):
    sliced = net(
        "(float[N,3] x) => (float[M,3,1] y)",
        "i = Constant<value = int64[1] {0}>() j = Constant<value = int64[1] {2}>() s = Slice(x, i, j)"
        "a = Constant<value = int64[1] {2}>() y = Unsqueeze(s, a)",
    )
    fidelity = compare(same, sliced, data(same))
    assert (fidelity.cosine, fidelity.sqnr_db, fidelity.max_rel_error, fidelity.agreement) == (0, 0, 1, 0)


def test_models_of_other_outputs_cannot_be_compared(same):
    other = net("(float[N,3] x) => (float[N,3] z)", "z = Relu(x)")
    with pytest.raises(ModelError, match="cannot compare models with the outputs"):
        compare(same, other, data(same))


@pytest.mark.parametrize(
    ("columns", "body"),
    [(3, "y = Relu(x)"), (1, "y = ReduceMax<axes=[1]>(x)")],
    ids=["reconstruction", "one column"],
)
def test_without_class_scores_there_is_no_agreement_but_explained_signal(columns, body):
    model = net(f"(float[N,3] x) => (float[N,{columns}] y)", body)
    assert compare(model, model.copy(), data(model)).agreement is None
    accuracy = Evaluator().measure(model, model.copy(), data(model))
    assert (accuracy.metric, accuracy.before, accuracy.after, accuracy.drop) == ("explained", 1, 1, 0)


def test_explained_signal_of_20_db_is_99_percent():
    near = net("(float[N,3] x) => (float[N,3] y)", "f = Constant<value = float {0.9}>() y = Mul(x, f)")
    exact = net("(float[N,3] x) => (float[N,3] y)", "y = Identity(x)")
    assert Evaluator().measure(exact, near, data(exact)).after == pytest.approx(0.99)


# -- accuracy --------------------------------------------------------------------------------------------------------


def test_the_digits_score_what_their_readme_says(digits):
    model, test = digits
    accuracy = Evaluator(test).measure(model, model.copy())
    assert (accuracy.metric, accuracy.n, accuracy.drop) == ("top1", 450, 0)
    assert accuracy.before == accuracy.after == pytest.approx(447 / 450)


def test_a_ruined_network_loses_accuracy_and_agreement(digits):
    model, test = digits
    ruined = model.copy()
    weight = next(t for t in ruined.constants if t.rank == 4)
    ruined.put(weight.name, np.zeros_like(weight.value()))
    accuracy = Evaluator(test).measure(model, ruined)
    assert accuracy.drop > 50
    unlabelled = Calibration.load(MODELS / "digits.calib.npz", model)
    agreement = Evaluator(test).measure(model, ruined, unlabelled)
    assert (agreement.metric, agreement.before, agreement.n) == ("agreement", 1, 400)
    assert agreement.after < 0.5


def test_top1_counts_hits(same):
    accuracy = Evaluator(data(same, labels=np.uint8([2, 0, 0, 0]))).measure(same, scaled(-1.0, -1.0, -1.0))
    assert (accuracy.before, accuracy.after, accuracy.drop) == (0.75, 0.25, 50)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([0, 1, 2, 3]), "hold 0 … 3, but the model has 3 classes"),
        (np.array([0, 1, 2, -1]), "hold -1 … 2"),
        (np.array([0.0, 1, 2, 2]), "1-dimensional and float64; give one whole class index"),
        (np.eye(4, dtype=np.int64), "2-dimensional and int64"),
    ],
)
def test_labels_must_be_class_indices(same, labels, message):
    with pytest.raises(UsageError, match=message):
        Evaluator(data(same, labels=labels)).measure(same, same)


def test_labels_need_class_scores():
    model = net("(float[N,3] x) => (float[N,1] y)", "y = ReduceMax<axes=[1]>(x)")
    with pytest.raises(UsageError, match="output 'y' is 4×1; leave the labels out, or give a metric of your own"):
        Evaluator(data(model, labels=np.arange(4))).measure(model, model)


def test_without_data_nothing_is_measured(same):
    with pytest.raises(UsageError, match="no data to measure accuracy on"):
        Evaluator().measure(same, same)
    with pytest.raises(UsageError, match="no labels to score a model by"):
        Evaluator().score(same, data(same))


# -- metrics ---------------------------------------------------------------------------------------------------------

METRICS = """
import numpy as np
CONSTANT = 3
def mean_score(outputs, labels):
    (y,) = outputs
    assert y.shape == (len(labels), 3, 1)
    return np.float32(y.mean())
def fails(outputs, labels):
    raise KeyError("no such thing")
def nothing(outputs, labels):
    return None
def infinite(outputs, labels):
    return float("inf")
"""


@pytest.fixture
def metrics(tmp_path, monkeypatch, request):
    name = f"metrics_{abs(hash(request.node.name))}"
    (tmp_path / f"{name}.py").write_text(METRICS)
    (tmp_path / f"{name}_broken.py").write_text("raise RuntimeError('at import')")
    monkeypatch.chdir(tmp_path)
    return name


def test_a_metric_of_the_working_directory_gets_all_samples_at_once(same, metrics):
    test = Calibration.load({"x": np.tile(ROWS["x"], (20, 1)), "labels": np.zeros(80)}, same)
    accuracy = Evaluator(test, load_metric(f"{metrics}:mean_score")).measure(same, scaled(2.0, 2.0, 2.0))
    assert accuracy.metric == f"{metrics}:mean_score"
    assert (accuracy.before, accuracy.after) == (pytest.approx(1), pytest.approx(2))
    assert type(accuracy.after) is float


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("mean_score", "write it as package.module:function"),
        ("{m}:", "write it as package.module:function"),
        ("{m}:mean score", "write it as package.module:function"),
        ("./{m}.py:mean_score", "write it as package.module:function"),
        ("no_such_module_:f", "cannot import 'no_such_module_' .ModuleNotFoundError"),
        ("{m}_broken:f", "cannot import .*RuntimeError: at import"),
        ("{m}:mean_scor", "no function 'mean_scor'; did you mean 'mean_score'"),
        ("{m}:CONSTANT", "'CONSTANT' is a int; it must be a function"),
    ],
)
def test_a_metric_that_cannot_be_had_is_refused(metrics, spec, message):
    with pytest.raises(UsageError, match=message):
        load_metric(spec.format(m=metrics))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fails", ":fails' failed: KeyError: 'no such thing'"),
        ("nothing", ":nothing' returned a NoneType; it must return a finite number"),
        ("infinite", ":infinite' returned inf; it must return a finite number"),
    ],
)
def test_a_metric_that_misbehaves_is_named(same, metrics, name, message):
    evaluator = Evaluator(data(same, labels=np.arange(4)), load_metric(f"{metrics}:{name}"))
    with pytest.raises(UsageError, match=message):
        evaluator.measure(same, same)


def test_a_metric_needs_labelled_test_data(same):
    for test in (None, data(same)):
        with pytest.raises(UsageError, match="needs test data that holds 'labels'"):
            Evaluator(test, lambda outputs, labels: 1.0)


def test_outputs_without_a_batch_axis_are_stacked_for_a_metric():
    model = net(
        "(float[1,3] x) => (float total, float[3,1] turned)", "total = ReduceSum<keepdims=0>(x) turned = Transpose(x)"
    )
    shapes = []

    def metric(outputs, labels):
        shapes.extend(y.shape for y in outputs)
        return 0.5

    test = data(model, labels=np.arange(4))
    assert Evaluator(test, metric).score(model, test) == 0.5
    assert shapes == [(4,), (4, 3, 1)]


def test_outputs_that_cannot_be_joined_are_refused():
    whole = net("(float[N,3] x) => (float total)", "total = ReduceSum<keepdims=0>(x)")
    ragged = net("(float[1,3] x) => (int64[2,M] y)", "y = NonZero(x)")
    for model, message in ((whole, "'total' has no axis for the samples"), (ragged, "'y' varies in shape")):
        test = Calibration.load({"x": np.float32([[1, 2, 3], [0, 0, 1]]), "labels": np.arange(2)}, model)
        with pytest.raises(UsageError, match=message):
            Evaluator(test, lambda outputs, labels: 1.0).score(model, test)


def test_the_fingerprint_tells_data_and_metrics_apart(same, metrics, tmp_path):
    test = data(same, labels=np.arange(4))
    metric = load_metric(f"{metrics}:mean_score")
    found = {
        Evaluator(*a).fingerprint() for a in ((), (test,), (test, metric), (test, load_metric(f"{metrics}:fails")))
    }
    assert len(found) == 4
    before = Evaluator(test, metric).fingerprint()
    assert Evaluator(data(same, labels=np.arange(4)), metric).fingerprint() == before
    (tmp_path / f"{metrics}.py").write_text(METRICS + "# edited")
    assert Evaluator(test, metric).fingerprint() != before


# -- latency ---------------------------------------------------------------------------------------------------------


def test_the_larger_network_takes_longer(digits):
    model, test = digits
    small = net("(float[N,1,8,8] input) => (float[N,1,8,8] y)", "y = Relu(input)")
    timing = latency(model, small, next(test.batches(1)), runs=30)
    assert (timing.threads, timing.runs) == (1, 30)
    assert timing.before_ms > timing.after_ms > 0
    assert min(timing.before_iqr_ms, timing.after_iqr_ms) >= 0


def test_the_number_of_runs_follows_from_the_time_they_take(same, monkeypatch):
    monkeypatch.setattr("onnxprune.latency.SECONDS", 1e-9)
    assert latency(same, same, next(data(same).batches(1))).runs == 10
    monkeypatch.setattr("onnxprune.latency.SECONDS", 1e9)
    assert latency(same, same, next(data(same).batches(1))).runs == 300

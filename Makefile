# Everything runs in .venv, which is made on first use; nothing but Python 3.11+, git and make is needed.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint architectures coverage zoo cross builds corpora operators fuzz faults large docs pictures accuracy quantization bench models clean

demo: .venv/.ready  ## compress a network that lies in the repository, into build/demo/
	$(BIN)/onnxprune models/digits_resnet.onnx --passes fold,prune:macs=50% --calib models/digits.calib.npz \
	  --test models/digits.test.npz --target host -o build/demo/

test: .venv/.ready lint  ## lint, types and the default suite, on all cores
	OPENBLAS_NUM_THREADS=1 $(BIN)/pytest -n auto --dist worksteal

lint: .venv/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

faults: .venv/.ready  ## kill it, fill its disks, interrupt it: minutes
	$(BIN)/pytest -m faults -s tests/faults

zoo: .venv/.ready  ## the suite on the networks of ../shared/zoo, where they are
	$(BIN)/pytest -m zoo

architectures: .venv/.ready  ## the suite on the structures of torchvision's and timm's networks, all of them
	$(BIN)/pytest -m architectures

coverage: .venv/.ready  ## export, prune and compare them anew, beside the peers; hours, 30 GB, goes on where it stopped
	$(BIN)/python -m benchmarks coverage --page docs/coverage.md -o build/coverage.json

accuracy: .venv/.ready  ## networks of ../shared/zoo pruned without training, beside the peers; hours
	$(BIN)/python -m benchmarks pruning --peers --curve --page docs/accuracy.md -o build/accuracy.json

quantization: .venv/.ready  ## networks of ../shared/zoo quantized, beside the peers; an hour or two, and goes on where it stopped
	$(BIN)/python -m benchmarks quantization --resume build/quantization/rows.jsonl --page docs/quantization-benchmark.md \
	  -o build/quantization.json

corpora: .venv/.ready  ## the suite on the backend cases of onnx, with counts
	$(BIN)/pytest -m corpora tests/corpora

operators: .venv/.ready  ## what is declared of every operator, slot by slot against the operator itself
	$(BIN)/pytest -m operators tests/operators

cross: .venv/.ready  ## every board: g++-aarch64-linux-gnu or Zig, qemu-user-static, and the package index
	$(BIN)/pytest -m cross

builds: .venv/.ready  ## CMake, Make and Meson, every input changed in turn
	$(BIN)/pytest -m builds

fuzz: .venv/.ready  ## random graphs and damaged files, 20 000 each; goes on where it was stopped
	$(BIN)/pytest -m fuzz -s tests/fuzz

docs: .venv/.ready  ## the site, into build/site/
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/site

pictures: .venv/.ready  ## the pictures of README and site anew, each from a real run
	$(BIN)/python docs/pictures.py

bench: .venv/.ready  ## machine, versions and figures, into build/bench.json
	$(BIN)/python -m benchmarks -o build/bench.json

large: .venv/.ready  ## a model of 4 GB through the command, in a temporary folder (TMPDIR) of 16 GiB
	$(BIN)/pytest -m large

models: .venv/.ready  ## train the networks of models/ anew
	$(BIN)/pip install --quiet --editable '.[train]'
	$(BIN)/python models/train.py

.venv/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo 'onnxprune needs Python 3.11 to 3.13: make PYTHON=python3.12 …'; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable "$$(command -v c++ g++ clang++ cc gcc clang >/dev/null 2>&1 \
	  && echo '.[dev,docs]' || echo '.[dev,docs,cross]')"
	@touch $@

clean:
	rm -rf .venv build

# make run: the server on http://localhost:8080, data in ./artifacts.   make test: all tests.   make check: ruff and mypy.
# make bench: benchmarks, beside minimal programs.   make bench-peers: the same beside MLflow and trackio.
# The first call of each installs its dependencies into .venv (make test also MLflow 2 into .venv-mlflow2); later calls
# start at once.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := setup.cfg pyproject.toml
MLFLOW2 := .venv-mlflow2

# .venv is created again if it can't be used: its Python is gone, the clone was moved (scripts name their interpreter by
# its absolute path), or make PYTHON=... names another version than the one that created it.
IS_STALE := $(shell test -e $(VENV)/made || exit 0; \
	(cd $(VENV) && [ -x bin/python ] && grep -qF -e "$$(pwd)" -e "$$(pwd -P)" bin/activate) || { echo yes; exit; }; \
	[ "$(origin PYTHON)" = file ] || \
	[ "$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = \
	"$$(sed -n 's/^version *= *\([0-9]*\.[0-9]*\).*/\1/p' $(VENV)/pyvenv.cfg)" ] || echo yes)
ifeq ($(IS_STALE),yes)
.PHONY: $(VENV)/made
endif

# If pip fails, its messages are printed, unless it can't reach its index: then one line says so.
define install
@echo "installing what is needed into $(VENV) ..."
@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable $(1) 2>$(VENV)/pip.log || { \
	if grep -q "connection broken by" $(VENV)/pip.log; then \
	echo "the package index can't be reached: the first time a network is needed (pip's words are in $(VENV)/pip.log)"; \
	else cat $(VENV)/pip.log; fi >&2; exit 1; }
endef

.PHONY: run test check lint types bench bench-peers screenshots clean $(MLFLOW2)
.DELETE_ON_ERROR:

run: $(VENV)/ready-to-run
	@exec $(BIN)/chachaml-lite serve $(ARGS)

# Three processes keep two cores busy: a third of the time a test waits for a command, a server or a page.
test: $(VENV)/ready-to-test $(MLFLOW2)/ready
	@$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

check: lint types

lint: $(VENV)/ready-to-test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/ready-to-test
	@$(BIN)/mypy

bench: $(VENV)/ready-to-test
	@PYTHONPATH=tests $(BIN)/python -m benchmarks $(ARGS)

# MLflow and trackio get a virtual environment of their own (1 GB); one that can't be installed is left out.
bench-peers: $(VENV)/ready-to-test
	@test -d .venv-peers || $(PYTHON) -m venv .venv-peers
	@echo "installing mlflow and trackio into .venv-peers ..."
	@for peer in mlflow trackio; do .venv-peers/bin/python -m pip install --quiet --upgrade --disable-pip-version-check $$peer || \
		echo "$$peer can't be installed here; going on without it" >&2; done
	@PYTHONPATH=tests $(BIN)/python -m benchmarks.peers .venv-peers/bin/python $(ARGS)

# Takes the README's screenshots again, of real trainings, with Chromium.
screenshots: $(VENV)/ready-to-test
	@PYTHONPATH=tests $(BIN)/python -m real.screenshots

clean:
	rm -rf $(VENV) $(MLFLOW2) .venv-peers build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache

# MLflow's client 2.x, which can't be installed beside 3.x, and the libraries for the tests of its autologging. If it
# can't be installed, its tests are skipped; on Python 3.14 it can't, because it requires an older pyarrow.
$(MLFLOW2): $(MLFLOW2)/ready

$(MLFLOW2)/ready: | $(VENV)/made
	@echo "installing mlflow 2.22 into $(MLFLOW2), for tests ..."
	@rm -rf $(MLFLOW2) && $(PYTHON) -m venv $(MLFLOW2)
	@$(MLFLOW2)/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --retries 1 \
		'mlflow == 2.22.*' scikit-learn xgboost lightgbm matplotlib 2>$(MLFLOW2)/pip.log \
		&& touch $@ || echo "mlflow 2.22 can't be installed here ($(MLFLOW2)/pip.log says why); going on without it" >&2

$(VENV)/made:
	@command -v $(PYTHON) >/dev/null 2>&1 || { \
		echo "$(PYTHON) was not found; install Python 3.10 or newer, or name one: make PYTHON=/path/to/python3 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
		echo "chachaml-lite needs Python 3.10 or newer, and $(PYTHON) is `$(PYTHON) -V 2>&1`; name another: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "this Python can't make virtual environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@$(if $(IS_STALE),echo "rebuilding $(VENV): it was moved or made by another Python ...")
	@$(PYTHON) -m venv $(if $(IS_STALE),--clear) $(VENV)
	@touch $@

$(VENV)/ready-to-run: $(VENV)/made $(SOURCES)
	$(call install,.)
	@touch $@

$(VENV)/ready-to-test: $(VENV)/made $(SOURCES)
	$(call install,'.[test-all]')
	@touch $@ $(VENV)/ready-to-run

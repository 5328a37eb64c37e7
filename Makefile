# Every target prepares the environment first (`setup`); when it is up to date that costs nothing.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up
LOCKS := requirements/build.txt requirements/base.txt requirements/test.txt

.PHONY: setup demo test check lint bench conformance proofs kill figures volume score lock clean

setup: $(STAMP)

demo: setup
	$(BIN)/perpdesk demo

test: setup
	$(BIN)/python -m pytest -n auto --dist worksteal

check: lint
	$(BIN)/python -m pytest -q -n auto --dist worksteal -m "not slow"

# Format, lint, types, import directions: everything of `check` but the tests.
lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup
	$(BIN)/python bench/run.py

# Strangers' clients live on the simulated exchange, each in an environment of its own.
conformance: setup
	$(BIN)/python conformance/run.py

# Real processes, SIGKILL at random moments, three databases; then the exchange's statement against the books.
kill: setup
	$(BIN)/python proof/kill.py --write docs/proof/kill.md

# Tests with real processes that take minutes of real time: two desks on one account, a short `make kill`,
# canaries in everything that a real desk leaves.
proofs: setup
	PERPDESK_PROOFS=1 $(BIN)/python -m pytest tests/service tests/security/test_canaries_desk.py \
	    tests/volume_run/test_process.py tests/grid_desk/test_process.py tests/parity/test_oi_lockstep.py -m slow

# Signal to wire, fill to stop, simulated runs per second, memory of fifty desks: docs/proof/figures.md.
figures: setup
	$(BIN)/python proof/figures.py --write docs/proof/figures.md

# volume_target: every accident with a death before each await, a million meetings, Spot lists with ccxt watching,
# a thousand users. The long one; each script has smaller numbers.
volume: setup
	$(BIN)/python proof/volume_accidents.py
	$(BIN)/python proof/volume_accidents.py --planted
	$(BIN)/python proof/volume_meetings.py
	$(BIN)/python proof/volume_spot.py
	$(BIN)/python bench/volume_scale.py

# Both scorers on one account over a recorded month (needs the recorded data): docs/proof/score_month.md.
score: setup
	$(BIN)/python proof/score_month.py --write docs/proof/score_month.md

# Choose the versions anew: writes requirements/*.txt from requirements/*.in.
lock: setup
	cd requirements && for group in build base test; do \
	    ../$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	        --no-header --no-emit-index-url $$group.in --output-file $$group.txt || exit 1; \
	done

clean:
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

# uv does not read pip's settings, so an index that pip was given is handed on. Where uv cannot reach it all the
# same (a certificate or a proxy that only pip knows), pip installs the same pinned files.
$(STAMP): $(LOCKS) pyproject.toml
	@set -e; \
	for candidate in python3.11 python3; do \
	    if $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        python=$$candidate; break; \
	    fi; \
	done; \
	if [ -z "$$python" ]; then echo "perpdesk needs Python 3.11 or newer as python3.11 or python3" >&2; exit 2; fi; \
	$(BIN)/python -c '' 2>/dev/null || { echo "creating $(VENV) with $$($$python --version)"; \
	    $$python -m venv --clear $(VENV); }; \
	pip="$(BIN)/python -m pip --disable-pip-version-check"; \
	$$pip install --quiet --require-hashes -r requirements/build.txt; \
	index=$${PIP_INDEX_URL:-$$($$pip config get global.index-url 2>/dev/null || true)}; \
	if [ -n "$$index" ] && [ -z "$$UV_DEFAULT_INDEX$$UV_INDEX_URL" ]; then export UV_DEFAULT_INDEX="$$index"; fi; \
	$(BIN)/uv pip install --python $(BIN)/python --require-hashes -r requirements/base.txt -r requirements/test.txt \
	    || $$pip install --require-hashes -r requirements/base.txt -r requirements/test.txt; \
	$$pip install --quiet --no-deps --no-build-isolation --editable .; \
	touch $@

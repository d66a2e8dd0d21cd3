# On a machine with Python 3.11 or newer and make: `make demo`, `make test`, `make check`.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt
SECONDS ?= $(if $(HEADLESS),60,300)

.PHONY: demo test fast check bench quality faults screens clean
.DEFAULT_GOAL := demo

$(VENV)/.pip:
	@echo "setting up $(VENV) with $(PYTHON)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Tocsin needs Python 3.11 or newer; set PYTHON=...")'
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.demo: $(VENV)/.pip pyproject.toml constraints.txt
	@echo "installing what the demo needs; this takes some minutes"
	@$(INSTALL) -e '.[demo]'
	@touch $@

$(VENV)/.dev: $(VENV)/.demo
	@echo "installing what the tests need"
	@$(INSTALL) -e '.[dev]'
	@touch $@

demo: $(VENV)/.demo ## broker, training, daemon, replay and dashboard, until Ctrl-C; HEADLESS=1 waits for nobody, BROKER=... uses yours
	@$(BIN)/tocsin demo $(if $(HEADLESS),--headless) --seconds $(SECONDS) $(if $(SPEED),--speed $(SPEED)) $(if $(BROKER),--broker $(BROKER))

test: $(VENV)/.dev ## all tests; those whose tools are missing skip and say why
	@$(BIN)/python -m pytest

fast: $(VENV)/.dev ## the tests that need neither Kafka nor a browser
	@$(BIN)/python -m pytest -m "not kafka and not browser and not slow"

check: $(VENV)/.dev ## style, types and import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

# loops that the daemon is held against use these; the peers do not go together with the project's own versions
$(VENV)/.bench: $(VENV)/.dev
	@$(INSTALL) confluent-kafka orjson
	@touch $@

$(VENV)/peers/.installed: tests/bench/peers.txt $(VENV)/.pip
	@echo "installing the peers that the benchmark compares with"
	@$(PYTHON) -m venv $(VENV)/peers
	@$(VENV)/peers/bin/python -m pip install --disable-pip-version-check -q -r tests/bench/peers.txt
	@touch $@

bench: $(VENV)/.bench $(VENV)/peers/.installed ## Tocsin, its limits and its peers; QUICK=1 in five minutes, ONLY=latency one part, PROFILE=1 where time goes
	@$(BIN)/python -m tests.bench $(if $(QUICK),--quick) $(addprefix --only ,$(ONLY)) $(if $(PROFILE),--profile) $(if $(BROKER),--broker $(BROKER))

quality: $(VENV)/.dev ## how well models detect, on the labelled data in TOCSIN_DATA; QUICK=1 one seed in ten minutes, ONLY=smd one part
	@$(BIN)/python -m tests.bench.quality $(if $(QUICK),--quick) $(addprefix --only ,$(ONLY)) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(JOBS),--jobs $(JOBS))

faults: $(VENV)/.dev ## what faults of daemons, brokers and networks do to the outputs; QUICK=1 in five minutes, ONLY=NAME one of them, CLIENT=confluent
	@$(BIN)/python -m tests.faults $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY)) $(if $(CLIENT),--client $(CLIENT))

screens: $(VENV)/.dev ## pictures of every page of the dashboard over a plant with everything in it, into docs/screens; SERVE=1 to look around
	@$(BIN)/python -m tests.screens

clean: ## what was built, but not the virtual environment
	@rm -rf build .tocsin .pytest_cache .mypy_cache .ruff_cache .hypothesis

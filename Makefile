# The two commands that matter: `make demo` and `make test`. Each does all of its own set-up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# Tests run in so many processes, each with servers of its own; a module's tests stay together and in order.
JOBS ?= 3
PYTEST := $(BIN)/pytest
PARALLEL := -n $(JOBS) --dist loadscope --no-loadscope-reorder

# Every process that starts would compile all of its modules again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test chaos lint layers type test-unit parts test-integration bench bench-dump bench-replication setup clean

$(VENV)/.installed: requirements/dev.txt pyproject.toml setup.py src/smartconnect/kernels/_compiled.pyx $(wildcard src/smartconnect/kernels/*.pxi)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	$(BIN)/python -m compileall -q -j 0 $(VENV)/lib src
	touch $@

setup: $(VENV)/.installed

demo: setup          ## a real Kafka, a real S3 server, the service, a dump and a replication, live progress, a check of the result
	$(BIN)/smart-connect demo $(ARGS)

test: setup          ## everything, real services included
	$(MAKE) --no-print-directory --jobs=2 lint layers type parts
	$(MAKE) --no-print-directory test-unit
	$(MAKE) --no-print-directory test-integration

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

layers: setup
	$(BIN)/lint-imports --no-cache

type: setup
	$(BIN)/mypy

test-unit: setup     ## no service needed
	$(PYTEST) $(PARALLEL) tests/unit tests/model -m "not chaos"

parts: setup         ## the servers of the sandbox, fetched and built before tests with deadlines wait for them
	$(BIN)/python -c "from smartconnect.sandbox import kafka, kafka_files, s3; kafka_files.libraries(kafka.KAFKA_VERSION); s3.versitygw()"

test-integration: setup parts
	$(PYTEST) $(PARALLEL) tests/integration -m "not long" --durations=15

chaos: setup         ## the long form of the kill, freeze and cut runs
	$(PYTEST) tests -m "chaos or long" --timeout=7200

bench: bench-dump bench-replication   ## each job side by side with its peers; prints the ratios

bench-dump: setup
	$(BIN)/python -m bench.obs_dump $(ARGS)

bench-replication: setup
	$(BIN)/python -m bench.kafka_replication $(ARGS)

clean:
	rm -rf $(VENV) build src/*.egg-info src/smartconnect/kernels/*.so src/smartconnect/kernels/_compiled.c

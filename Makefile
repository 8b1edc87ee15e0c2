# Needs GNU make 3.81 and a POSIX sh. Most targets first create or update .venv.
PYTHON ?= python3
# The user's own settings of Python (PYTHONHOME, PYTHONPATH, …) are for other programs.
unexport $(filter-out PYTHON,$(filter PYTHON%,$(.VARIABLES)))
# A character that the terminal does not have is replaced.
export PYTHONIOENCODING = :replace
BIN = .venv/bin

INSTALL = command -v "$(PYTHON)" >/dev/null || { echo "no $(PYTHON) here; install Python 3.11 or newer \
	(Debian and Ubuntu: apt install python3-venv), or name yours: make PYTHON=python3.12 demo" >&2; exit 1; }; \
	"$(PYTHON)" scripts/install.py

# Test, test-all, torture, walk, bench, bench-stage and pictures use separate servers, ports and
# state, and ignore the configured target. They share only the cache and the mirror. Each starts
# with empty state and always stops its servers at the end.
APART = set -e; for name in $$(env | sed -n 's/^\(CLICKSTREAM_[A-Z_]*\)=.*/\1/p'); do \
	case $$name in CLICKSTREAM_CACHE|CLICKSTREAM_MAVEN_MIRROR|CLICKSTREAM_REQUIRE_BROWSER) ;; \
	*) unset $$name ;; esac; done; \
	CLICKSTREAM_STATE="$$PWD/build/state/$@"; export CLICKSTREAM_STATE; \
	CLICKSTREAM_CONF="$$PWD/build/no-conf"; export CLICKSTREAM_CONF; \
	for state in "$$CLICKSTREAM_STATE" "$$CLICKSTREAM_STATE-disturbed"; do \
		CLICKSTREAM_STATE=$$state $(BIN)/clickstream down >/dev/null; rm -rf "$$state"; done; \
	rm -rf build/$@; mkdir -p build/$@ build/no-conf; \
	trap '$(BIN)/clickstream down >/dev/null' EXIT; trap 'exit 130' HUP INT TERM;

# Three pytest runs; exit code 5 means that a run had no test. Side by side: the tests that disturb a
# server, on a pair of their own, and in two workers those that only need names of their own. Then the
# timed tests, alone on the machine. The servers start often here, and Java's optimising compiler would
# take more CPU time than it saves. $(call RUNS,and not slow)
RUNS = CLICKSTREAM_JAVA_OPTIONS=-XX:TieredStopAtLevel=1; export CLICKSTREAM_JAVA_OPTIONS; \
	failed=0; log=build/$@/disturbed.log; pair=$$CLICKSTREAM_STATE; \
	run() { $(BIN)/python -m pytest "$$@" $(PYTEST) || [ $$? = 5 ] || failed=1; }; \
	CLICKSTREAM_STATE=$$pair-disturbed $(BIN)/python -m pytest -m "disturbed $(1)" $(PYTEST) >$$log 2>&1 & \
	disturbed=$$!; \
	trap 'kill -INT $$disturbed 2>/dev/null || :; wait; $(BIN)/clickstream down >/dev/null; \
		CLICKSTREAM_STATE=$$pair-disturbed $(BIN)/clickstream down >/dev/null' EXIT; \
	$(BIN)/clickstream --target local up >/dev/null; \
	run -n 2 --dist worksteal -m "not disturbed and not timed $(1)"; \
	wait $$disturbed || [ $$? = 5 ] || failed=1; disturbed=; cat $$log; \
	run -m "timed and not disturbed $(1)"; \
	exit $$failed

.PHONY: help demo test test-all torture walk report docs bench bench-stage pictures prepare use up down status reset fresh check lint lock clean venv dev

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1#/p' Makefile | awk -F'#' '{printf "%-16s %s\n", $$1, $$2}'

demo: venv  ## download what is missing, start everything, open JupyterLab
	@$(BIN)/clickstream demo

test: dev  ## lint, unit tests, tests on real servers, every notebook; run it before each push
	@$(APART) $(MAKE) --no-print-directory lint; $(call RUNS,and not slow)

test-all: dev  ## the same with all that takes long: README and docs in a clone, browser, hosted, torture
	@$(APART) $(MAKE) --no-print-directory lint; $(call RUNS)

torture: dev  ## the full delivery tests: kills, outages, storms, a soak test; one hour
	@$(APART) $(BIN)/python -m pytest -v tests/simulation/test_simulator.py tests/end_to_end/test_torture*.py --torture $(PYTEST)

walk: dev  ## run every notebook and save each as HTML in build/walk/
	@$(APART) $(BIN)/python -m scripts.walk build/walk

report: dev  ## measure the habits of the readers: make report SEED=7; about 20 s
	@$(BIN)/python -m benchmarks.realism --seed $(or $(SEED),1)

docs: dev  ## write docs/commands.md from the help of every command
	@$(BIN)/python -m scripts.commands

bench: dev  ## measure what docs/speed.md promises, as ratios
	@$(APART) $(BIN)/python -m benchmarks

bench-stage: dev  ## measure the control room in a real browser (Chromium)
	@$(APART) $(BIN)/python -m benchmarks.stage && $(BIN)/python -m benchmarks.offline

pictures: dev  ## take the pictures of the README in a browser (Chromium)
	@$(APART) $(BIN)/python -m benchmarks.pictures

prepare:  ## download wheels and servers only, for a later start without a network
	@$(INSTALL) --prepare
	@$(BIN)/clickstream prepare

use:
	@$(INSTALL) --use

up: venv  ## start the servers
	@$(BIN)/clickstream --target local up

down: venv  ## stop the servers and keep their data
	@$(BIN)/clickstream down

status: venv  ## show the servers and the counts of messages and documents
	@$(BIN)/clickstream --target local status

reset: venv  ## empty the topic, dead letters, offsets and index
	@$(BIN)/clickstream --target local reset --yes

fresh: venv  ## replace the working copy of the notebooks; the old one is kept
	@$(BIN)/clickstream fresh

check: venv  ## check everything that the demo needs
	@$(BIN)/clickstream --target local check

lint: dev  ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

lock: dev  ## pin all packages again (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-header --no-annotate pyproject.toml --group build -o requirements.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-header --no-annotate pyproject.toml --group build --group dev \
		-c requirements.lock -o requirements-dev.lock

# If .venv does not run, the files in the state folders tell whether processes still run.
clean:  ## remove .venv and build; keep your working copy of the notebooks
	@set -e; if $(BIN)/clickstream --help >/dev/null 2>&1; then \
		for state in build/state/*/; do [ ! -d "$$state" ] || \
			CLICKSTREAM_STATE="$$PWD/$$state" $(BIN)/clickstream down >/dev/null; done; \
		$(BIN)/clickstream idle; \
	elif [ -e .venv ]; then \
		echo ".venv does not run here; looking for processes of ours without it" >&2; \
		for memory in build/state/*/*.json work/.jupyterlab.json \
			"$${CLICKSTREAM_STATE:-$$HOME/.local/state/clickstream}"/*.json; do \
			[ -e "$$memory" ] || continue; \
			pid=$$(sed -n 's/.*"pid": \([0-9]*\).*/\1/p' "$$memory"); \
			if [ "$$pid" ] && kill -0 "$$pid" 2>/dev/null; then \
				echo "$$memory may still run; kill $$pid, or delete that file if $$pid is another's" >&2; \
				exit 1; fi; done; fi
	rm -rf .venv build .pytest_cache .mypy_cache .ruff_cache .hypothesis

venv:
	@$(INSTALL)

dev:
	@$(INSTALL) --dev

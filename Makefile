# GNU make 3.81 and POSIX sh. Every target first makes sure of .venv; nothing else is set up.
PYTHON ?= python3
BIN = .venv/bin

INSTALL = command -v "$(PYTHON)" >/dev/null || { echo "no $(PYTHON) here; install Python 3.11 or newer \
	(Debian and Ubuntu: apt install python3-venv), or name yours: make PYTHON=python3.12 demo" >&2; exit 1; }; \
	"$(PYTHON)" scripts/install.py

# Test, test-all, torture, walk, bench, bench-stage and pictures: servers, ports and state of their own, and no word of a target.
# Only the cache and the mirror are shared. They start from nothing, and whatever happens,
# their servers are taken down.
APART = set -e; for name in $$(env | sed -n 's/^\(CLICKSTREAM_[A-Z_]*\)=.*/\1/p'); do \
	case $$name in CLICKSTREAM_CACHE|CLICKSTREAM_MAVEN_MIRROR|CLICKSTREAM_REQUIRE_BROWSER) ;; \
	*) unset $$name ;; esac; done; \
	CLICKSTREAM_STATE="$$PWD/build/state/$@"; export CLICKSTREAM_STATE; \
	CLICKSTREAM_CONF="$$PWD/build/no-conf"; export CLICKSTREAM_CONF; \
	$(BIN)/clickstream down >/dev/null; rm -rf build/$@ build/state/$@; mkdir -p build/$@ build/no-conf; \
	trap '$(BIN)/clickstream down >/dev/null' EXIT; trap 'exit 130' HUP INT TERM;

# Three runs on one pair, each whatever became of the one before; 5 says that nothing was selected.
# Two workers share the pair; what disturbs it has it alone, and what is timed has the machine.
# $(call RUNS,and not slow)
RUNS = failed=0; \
	run() { $(BIN)/python -m pytest "$$@" $(PYTEST) || [ $$? = 5 ] || failed=1; }; \
	$(BIN)/clickstream --target local up >/dev/null; \
	run -n 2 --dist worksteal -m "not disturbed and not timed $(1)"; \
	run -m "disturbed $(1)"; \
	run -m "timed and not disturbed $(1)"; \
	exit $$failed

.PHONY: help demo test test-all torture walk report docs bench bench-stage pictures prepare use up down status reset fresh check lint lock clean venv dev

help:  ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1#/p' Makefile | awk -F'#' '{printf "%-16s %s\n", $$1, $$2}'

demo: venv  ## fetch what is missing, start everything, open JupyterLab
	@$(BIN)/clickstream demo

test: dev  ## lint, fast tests, tests on real servers, every notebook; before each push
	@$(APART) $(MAKE) --no-print-directory lint; $(call RUNS,and not slow)

test-all: dev  ## the same with all that takes long: README and docs in a clone, browser, hosted, torture
	@$(APART) $(MAKE) --no-print-directory lint; $(call RUNS)

torture: dev  ## the tests of delivery at full length: kills, outages, storms, a soak; an hour
	@$(APART) $(BIN)/python -m pytest -v tests/end_to_end/test_torture*.py --torture $(PYTEST)

walk: dev  ## run every notebook and write each as HTML under build/walk/
	@$(APART) $(BIN)/python -m scripts.walk build/walk

report: dev  ## measure what the readers are like: make report SEED=7; some 20 s
	@$(BIN)/python -m benchmarks.realism --seed $(or $(SEED),1)

docs: dev  ## write docs/commands.md from the help of every command
	@$(BIN)/python -m scripts.commands

bench: dev  ## measure what docs/speed.md promises, as ratios
	@$(APART) $(BIN)/python -m benchmarks

bench-stage: dev  ## measure the control room before an audience, in a Chromium
	@$(APART) $(BIN)/python -m benchmarks.stage && $(BIN)/python -m benchmarks.offline

pictures: dev  ## take the README's pictures from the running kit, in a Chromium
	@$(APART) $(BIN)/python -m benchmarks.pictures

prepare:  ## only fetch: wheels and servers, for a start with the network off
	@$(INSTALL) --prepare
	@$(BIN)/clickstream prepare

use:
	@$(INSTALL) --use

up: venv  ## start the servers
	@$(BIN)/clickstream --target local up

down: venv  ## stop the servers; their data stays
	@$(BIN)/clickstream down

status: venv  ## show the servers, and how much lies where
	@$(BIN)/clickstream --target local status

reset: venv  ## empty topic, dead letters, offsets and index
	@$(BIN)/clickstream --target local reset --yes

fresh: venv  ## renew the working copy of the notebooks; the old one is kept aside
	@$(BIN)/clickstream fresh

check: venv  ## look at everything the demo needs
	@$(BIN)/clickstream --target local check

lint: dev  ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

lock: dev  ## pin everything anew (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-header --no-annotate pyproject.toml --group build -o requirements.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-header --no-annotate pyproject.toml --group build --group dev \
		-c requirements.lock -o requirements-dev.lock

# Where .venv cannot run, what it remembers of processes decides.
clean:  ## remove .venv and build; your working copy of the notebooks stays
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

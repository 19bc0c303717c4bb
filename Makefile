# Nod. `make help` lists the targets. PORT, NOD_DATA and the other settings come from the environment.
SHELL := /bin/sh
PYTHON := .venv/bin/python
PIP_INSTALL := $(PYTHON) -m pip install --quiet --quiet --disable-pip-version-check --require-virtualenv
UV_COMPILE := uv pip compile --quiet --universal --python-version 3.11 \
	--no-emit-index-url --no-emit-find-links --no-header

# Without its compiled files, Python takes three times as long to start everything.
unexport PYTHONDONTWRITEBYTECODE

# Those that start a Nod or a server of their own, and those about pages, sockets, files and words.
OWN_SERVERS := processes up agentcore agentcore_deploy agentcore_hostile agentcore_same agentcore_wire bedrock bedrock_journey \
	bedrock_models bedrock_seen nod_client postgres providers sso terminal
PAGES := addresses admin agent_api agent_api_pages api because card_pages chat_attachments chat_deciding chat_editing chat_pages \
	chat_questions chat_sessions chat_streaming clocks commands context edit_pages golden handlers health history hooks hub leaving_out \
	metrics models_admin much notice_pages people policy_files policy_pages queue_pages quorum_model roles seed_semantics sockets \
	terminal_asking web_push
# Those that take long on PostgreSQL, and make more use of its time than of what it does in its own way: `make postgres` has them.
ALIKE := announcing costs deploys limits model_check policy_cache quorum settlements
without = $(foreach name,$(1),--ignore tests/integration/test_$(name).py)

.DEFAULT_GOAL := help
.PHONY: help run demo test postgres check bench chaos hostile axe screens mutants lock clean
.DELETE_ON_ERROR:

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1|/p' Makefile | awk -F'|' '{ printf "%-14s %s\n", $$1, $$2 }'

# `exec` makes `up` the process that make waits for and passes SIGTERM to.
run: .venv/requirements.stamp ## start everything on http://127.0.0.1:8000 (PORT=8001 for another port)
	@export DEBUG="$${DEBUG:-1}"; exec $(PYTHON) manage.py up --seed --with-parent

demo: .venv/requirements.stamp ## play the whole loop in the terminal, without a browser
	@export DEBUG="$${DEBUG:-1}"; exec $(PYTHON) manage.py demo

test: export DEBUG = 1
test: export NOD_DATA = $(CURDIR)/var/test
test: .venv/requirements-dev.stamp ## run every test, those in a browser too where there is a Chromium
	@browser=; for name in chromium-headless-shell chromium chromium-browser google-chrome; do \
		if command -v $$name >/dev/null 2>&1; then browser=$$name; break; fi; done; \
	if [ -n "$$browser" ]; then echo "Browser tests run in $$(command -v $$browser)."; \
	else echo "No Chromium found: the browser tests are left out."; fi
# Browsers and workers wait much: what the database makes a difference to is tested on PostgreSQL meanwhile, and stands back.
	@mkdir -p var/test-postgres; \
	NOD_DATA=$(CURDIR)/var/test-postgres nice -n 5 $(PYTHON) -m tests.postgres $(PYTHON) -m pytest tests/integration \
		$(call without,$(OWN_SERVERS) $(PAGES) $(ALIKE)) >var/test-postgres/log 2>&1 & beside=$$!; \
	failed=0; $(PYTHON) -m pytest -n 3 --dist loadgroup || failed=1; wait $$beside || failed=1; \
	echo "What the database makes a difference to, on PostgreSQL (make postgres: everything):"; \
	cat var/test-postgres/log; exit $$failed

postgres: export DEBUG = 1
postgres: export NOD_DATA = $(CURDIR)/var/test
postgres: .venv/requirements-dev.stamp ## the tests that talk to a database, all of them, on PostgreSQL (three minutes)
	@$(PYTHON) -m tests.postgres $(PYTHON) -m pytest -n 3 --dist loadgroup tests/integration $(call without,$(OWN_SERVERS))

# As in production, but for a key that is made for this run and a data folder of its own.
check: export DEBUG = 0
check: export ALLOWED_HOSTS = example.org
check: export SECRET_KEY = $(shell $(PYTHON) -c 'import secrets; print(secrets.token_urlsafe(64))' 2>/dev/null)
check: export NOD_DATA = $(CURDIR)/var/check
check: .venv/requirements-dev.stamp ## formatter, linter, types, import rules, migrations, Django's deploy check
	@mkdir -p var/check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m ruff check
	$(PYTHON) -m mypy
	.venv/bin/lint-imports
	$(PYTHON) manage.py makemigrations --check --dry-run
	$(PYTHON) manage.py check --deploy --fail-level WARNING

bench: .venv/requirements-dev.stamp ## measure; tables here, JSON under var/bench/
	@$(PYTHON) -m bench

chaos: .venv/requirements-dev.stamp ## break it in every known place, on both databases (an hour or two); SEEDS=2 for less
	@$(PYTHON) -m tests.chaos --seeds $${SEEDS:-20}
	@$(PYTHON) -m tests.chaos.outages

screens: export DEBUG = 1
screens: .venv/requirements-dev.stamp ## pictures of every page in its states, under var/screens/ (a few minutes)
	@$(PYTHON) -m tests.screens var/screens

hostile: export DEBUG = 1
hostile: export NOD_DATA = $(CURDIR)/var/test
hostile: export HOSTILE = all
hostile: .venv/requirements-dev.stamp ## every hostile value on every page in Chromium (ten minutes); `make test` takes a few
	@$(PYTHON) -m pytest tests/e2e/test_hostile.py

axe: export DEBUG = 1
axe: export NOD_DATA = $(CURDIR)/var/test
axe: export AXE = all
axe: .venv/requirements-dev.stamp ## accessibility of every page and state, in light and dark, on desk and phone (a few minutes); `make test` takes most
	@$(PYTHON) -m pytest tests/e2e/test_accessibility.py

mutants: export DEBUG = 1
mutants: .venv/requirements-dev.stamp ## take each promise out of the code in turn: do the tests notice? (20 minutes)
	@$(PYTHON) -m tests.mutants

lock: ## turn requirements*.in into requirements*.txt, hosted's too (needs uv)
	@command -v uv >/dev/null || { echo "make lock needs uv: https://docs.astral.sh/uv/"; exit 1; }
	$(UV_COMPILE) requirements.in --output-file requirements.txt
	$(UV_COMPILE) requirements-dev.in --output-file requirements-dev.txt
	$(UV_COMPILE) hosted/requirements.in --output-file hosted/requirements.txt

clean: ## remove .venv and caches; the data in var/ stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A version manager's python3.13 may be there and yet not run, so each candidate is tried out.
$(PYTHON):
	@for python in python3 python3.13 python3.12 python3.11; do \
		$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || continue; \
		echo "Making .venv with $$($$python --version)"; \
		$$python -m venv --clear .venv && exit 0; \
		echo "$$python can't make a .venv. On Debian and Ubuntu: apt install python3-venv"; rm -rf .venv; exit 1; \
	done; \
	echo "Nod needs Python 3.11, 3.12 or 3.13, and none was found (python3 is: $$(python3 --version 2>&1))."; exit 1

.venv/%.stamp: %.txt | $(PYTHON)
	@echo "Installing $< (the first time takes about a minute)"
	@$(PIP_INSTALL) -r $<
	@touch $@

.venv/requirements-dev.stamp: .venv/requirements.stamp

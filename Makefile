# Two commands do everything on a fresh machine with Python 3.11 or later and make: `make demo` and `make test`.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Commands and tests start hundreds of processes: a library is compiled once, not in each of them.
unexport PYTHONDONTWRITEBYTECODE

# Locked with hashes and no addresses: pip asks whichever index this machine is set up for.
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help
help: ## Show the targets
	@grep -hE '^[a-z][a-z-]*:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-17s %s\n", $$1, $$2}'

$(VENV)/runtime.stamp: requirements/runtime.lock pyproject.toml
	@echo "Installing into $(VENV) (a few minutes the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP_INSTALL) --no-deps --require-hashes -r requirements/runtime.lock
	@$(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@$(BIN)/loan-default init
	@touch $@

$(VENV)/dev.stamp: $(VENV)/runtime.stamp requirements/dev.lock
	@echo "Installing what tests need"
	@$(PIP_INSTALL) --no-deps --require-hashes -r requirements/dev.lock
	@touch $@

$(VENV)/docs.stamp: $(VENV)/runtime.stamp requirements/docs.lock
	@echo "Installing what renders the documentation"
	@$(PIP_INSTALL) --no-deps --require-hashes -r requirements/docs.lock
	@touch $@

.PHONY: install
install: $(VENV)/runtime.stamp ## Make .venv with locked dependencies

.PHONY: dask
dask: $(VENV)/runtime.stamp ## Add Dask to .venv, for LOAN_DEFAULT_ENGINE=dask
	@$(PIP_INSTALL) --no-deps --require-hashes -r requirements/dask.lock

.PHONY: demo
demo: install ## Run the whole platform on synthetic loans
	@$(BIN)/loan-default demo

.PHONY: dev
dev: install ## Start Dagster on 127.0.0.1:3000, MLflow on 127.0.0.1:5000 and the pages on 127.0.0.1:5002
	@$(BIN)/loan-default dev

.PHONY: serve
serve: install ## Answer POST /invocations on 127.0.0.1:5001
	@$(BIN)/loan-default serve

.PHONY: secrets
secrets: ## Write docker/.env: a random value for each secret of the containers; what is there stays
	@docker/secrets.sh

# Without -m pytest leaves out the tiers long and container (pyproject.toml).
# Tests wait for processes, sockets and disks a third of their time: four share two cores; unit tests do not wait.
JOBS ?= 4
PYTEST = $(BIN)/python -m pytest
SHARED_OUT = -n $(JOBS) --dist loadfile --no-loadscope-reorder $(if $(ONLY),-k "$(ONLY)")
QUICK = --hypothesis-profile=quick
THOROUGH = --hypothesis-profile=thorough
SHOWN = -o log_cli=true -o log_cli_level=WARNING -o log_cli_format='%(message)s'
.PHONY: test
test: $(VENV)/dev.stamp ## Install what tests need and run unit and integration tests, or ONLY="words of pytest -k"; JOBS=4
	@$(PYTEST) $(SHARED_OUT)

.PHONY: test-unit
test-unit: JOBS = 2
test-unit: $(VENV)/dev.stamp ## Run the tests that need no server, store or process, but for slow ones
	@$(PYTEST) $(SHARED_OUT) $(QUICK) -m "not integration and not long and not container and not slow" --durations=3 --durations-min=1

.PHONY: test-all
test-all: test ## Run all tests: also the long ones, those of containers where an engine is, and properties by many examples
	@$(PYTEST) $(SHARED_OUT) $(THOROUGH) -m "long or container or hypothesis"

.PHONY: test-loop
test-loop: $(VENV)/dev.stamp ## Test the loop under dagster dev, and show when each thing happened
	@$(PYTEST) $(SHOWN) -m long loan_default_tests/test_loop.py

HALF_YEARS ?= 20
.PHONY: test-half-year
test-half-year: $(VENV)/dev.stamp ## Let every sensor live through HALF_YEARS=20 simulated half years of trouble
	@LOAN_DEFAULT_TEST_HALF_YEARS=$(HALF_YEARS) $(PYTEST) $(THOROUGH) -m long loan_default_tests/test_half_year.py

FILES ?= 500
.PHONY: test-load
test-load: $(VENV)/dev.stamp ## Drop FILES=500 batches at once under dagster dev, and score some again from the UI
	@LOAN_DEFAULT_TEST_FILES=$(FILES) $(PYTEST) $(SHOWN) -m "integration or long" loan_default_tests/test_load.py

.PHONY: test-faults
test-faults: $(VENV)/dev.stamp ## Kill a run in every step, or in STEPS="a b", around every change; show what came of it
	@LOAN_DEFAULT_TEST_STEPS="$(STEPS)" $(PYTEST) $(SHOWN) -m "integration or long" loan_default_tests/test_faults.py

.PHONY: test-attack
test-attack: $(VENV)/dev.stamp ## Attack the scoring server by its sockets: what one caller does costs another nothing
	@$(PYTEST) $(SHOWN) -m "integration or long" loan_default_tests/test_attack.py

# Of the pages, for the docs; it needs Chromium.
.PHONY: screenshots
screenshots: $(VENV)/dev.stamp ## Write docs/images/*.png anew, after a change of the pages
	@mkdir -p docs/images && LOAN_DEFAULT_SCREENSHOTS=$(CURDIR)/docs/images $(PYTEST) -m "integration or long" loan_default_tests/test_browser.py

.PHONY: lint
lint: $(VENV)/dev.stamp ## Check style
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

.PHONY: format
format: $(VENV)/dev.stamp ## Mend style
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

.PHONY: types
types: $(VENV)/dev.stamp ## Check types
	@$(BIN)/mypy

.PHONY: schemas
schemas: $(VENV)/dev.stamp ## Write loan_default/conf/*.schema.json anew, after a change of what reviewed files may say
	@$(BIN)/python -c "from loan_default.risk.model.file_schemas import write_schemas; write_schemas()"

.PHONY: dashboards
dashboards: $(VENV)/dev.stamp ## Write docker/observability/grafana/dashboards/*.json anew, after a change of what they show
	@$(BIN)/python docker/observability/dashboards.py

.PHONY: docs
docs: $(VENV)/docs.stamp ## Make the documentation site, build/site
	@$(BIN)/python docs/make_site.py

.PHONY: hooks
hooks: $(VENV)/dev.stamp ## Check style, types and locks before each commit
	@$(BIN)/pre-commit install

.PHONY: workflows-check
workflows-check: ## Read .github/workflows with GitHub's own parser (needs npm)
	@npm ci --prefix .github/parser --ignore-scripts --no-audit --no-fund --silent
	@node .github/parser/check.mjs .github/workflows/*.yml

.PHONY: dist
dist: $(VENV)/dev.stamp ## Build wheel and sdist into dist/; the version is that of the tag
	@$(BIN)/python -m build --no-isolation

.PHONY: bench
bench: install ## Measure speed and memory
	@$(BIN)/python -m benchmarks

.PHONY: bench-serving
bench-serving: install ## Measure the scoring server, also against REF, a commit (the last tag); needs wrk
	@$(BIN)/python -m benchmarks serving $(if $(REF),--against $(REF))

.PHONY: bench-scale
bench-scale: $(VENV)/dev.stamp ## Measure the whole pipeline from 10,000 to 10 million loans, and Dask's workers; long, and much disk
	@$(BIN)/python -m benchmarks workers scale

# Each environment has a folder of its own, so that a plan never meets the other one's state.
ENV ?= staging
TERRAFORM ?= terraform
TF = TF_DATA_DIR=.terraform-$(ENV) $(TERRAFORM) -chdir=infra
.PHONY: terraform-init
terraform-init: ## Fetch the providers, and find the state of ENV=staging or prod
	@$(TF) init -backend-config=$(ENV).gcs.tfbackend

.PHONY: terraform-plan
terraform-plan: ## Say what an apply would change in ENV=staging or prod
	@$(TF) plan -var-file=$(ENV).tfvars -out=$(ENV).tfplan

.PHONY: terraform-apply
terraform-apply: ## Do what the last plan of ENV=staging or prod says
	@$(TF) apply $(ENV).tfplan

.PHONY: terraform-destroy
terraform-destroy: ## Take ENV=staging down; prod is protected
	@$(TF) destroy -var-file=$(ENV).tfvars

# checkov's dependencies are at odds with ours.
CHECKOV := .venv-checkov
$(CHECKOV)/stamp: requirements/checkov.lock
	@echo "Installing checkov into $(CHECKOV)"
	@test -x $(CHECKOV)/bin/python || $(PYTHON) -m venv $(CHECKOV)
	@$(CHECKOV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $<
	@touch $@

VALIDATE ?= false
.PHONY: terraform-check
terraform-check: $(CHECKOV)/stamp ## Check Terraform's format and policies; VALIDATE=true also against its providers, from the network
	@if command -v $(TERRAFORM) >/dev/null; then $(TERRAFORM) fmt -check -diff -recursive infra; \
		else echo "terraform fmt is left out: there is no $(TERRAFORM) here."; fi
ifeq ($(VALIDATE),true)
	@TF_DATA_DIR=.terraform-check $(TERRAFORM) -chdir=infra init -backend=false -input=false
	@TF_DATA_DIR=.terraform-check $(TERRAFORM) -chdir=infra validate
endif
	@$(CHECKOV)/bin/checkov --config-file infra/.checkov.yaml

# --- in containers: docker compose, or podman-compose where there is none
COMPOSE ?= $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo podman-compose)
ENGINE ?= $(firstword $(subst -, ,$(COMPOSE)))
PROJECT ?= loan-default
PROFILE ?= local
SERVICES := postgres mlflow code-server webserver daemon scoring
IMAGES := platform mlflow scoring
ifeq ($(PROFILE),gcs-emulator)
SERVICES := gcs $(SERVICES)
IMAGES += gcs
export LOAN_DEFAULT_STORAGE := gs://loan-default
export STORAGE_EMULATOR_HOST := http://gcs:9023
endif
ifeq ($(PROFILE),observability)
SERVICES += metrics prometheus grafana
endif
ifeq ($(PROFILE),web)
SERVICES += web
endif
export COMPOSE_PROFILES := $(PROFILE)
# podman-compose 1.0, Debian's, does not hand on from .env what has no value in compose.yaml.
STACK = $(if $(filter podman-compose,$(COMPOSE)),set -a; . docker/.env; set +a;) $(COMPOSE) -p $(PROJECT) -f docker/compose.yaml
LABEL := label=com.docker.compose
IN_CODE_SERVER = $(ENGINE) exec -i $$($(ENGINE) ps --quiet --filter $(LABEL).project=$(PROJECT) \
	--filter $(LABEL).service=code-server)

.PHONY: engine
engine: ## Name the container engine that the following use; COMPOSE="docker compose" or podman-compose chooses
	@echo $(ENGINE)

# A checkout of no tag has no version to give: .git is not in what images are built from.
VERSION ?= $(patsubst v%,%,$(shell git describe --tags --exact-match 2>/dev/null))
.PHONY: images
images: ## Build the images; a tagged checkout gives them its VERSION
	@for name in $(IMAGES); do $(ENGINE) build --build-arg VERSION=$(VERSION) \
		--tag loan-default-$$name:local --file docker/$$name.Dockerfile . || exit 1; done

# The pages listen beyond their container, and refuse to where nobody has to sign in.
.PHONY: web-users
web-users:
	@grep -Eq '^LOAN_DEFAULT_WEB_USER(S|_HEADER)=.' docker/.env 2>/dev/null || { echo "docker/.env names nobody who may sign \
in to the pages: loan-default web-user NAME --role officer prints what to write after LOAN_DEFAULT_WEB_USERS= there, in single \
quotes" >&2; exit 1; }

.PHONY: start
start: $(if $(filter web,$(PROFILE)),web-users) images ## Start the platform in containers; PROFILE=gcs-emulator: with an emulated bucket, observability: with Grafana, web: with the pages
	@test -f docker/.env || { echo "docker/.env is missing: make secrets" >&2; exit 1; }
	@$(STACK) up -d $(SERVICES)
	@echo "Dagster: http://127.0.0.1:3000   MLflow: http://127.0.0.1:5000   Scoring: http://127.0.0.1:5001"
	@$(if $(filter web,$(PROFILE)),echo "Pages: http://127.0.0.1:5002")
	@echo "Next: make pipeline; make troubleshoot shows what is healthy yet"

.PHONY: stop
stop: ## Stop and remove the containers; what they keep stays
	@$(STACK) down

.PHONY: start-serve
start-serve: ## Start the scoring server's container
	@$(STACK) up -d scoring

.PHONY: stop-serve
stop-serve: ## Stop the scoring server's container
	@$(STACK) stop scoring

.PHONY: pipeline
LOANS := /var/lib/loan-default/loans
pipeline: ## Train in the containers on DATA=file, else on what is there, else on synthetic loans, until decided on
	@$(if $(DATA),$(IN_CODE_SERVER) sh -c 'mkdir -p $(LOANS) && cat >$(LOANS)/.part \
		&& rm -f $(LOANS)/* && mv $(LOANS)/.part "$(LOANS)/$(notdir $(DATA))"' <"$(DATA)")
	@$(IN_CODE_SERVER) python pipeline.py full_pipeline_job $(ARGS)

.PHONY: logs
logs: ## Follow what the services say, or SERVICE=name only
	@$(STACK) logs --follow --tail 50 $(or $(SERVICE),$(SERVICES))

.PHONY: troubleshoot
troubleshoot: ## Show each service's state, health and last words, and ask the doctor
	@sh docker/troubleshoot.sh $(ENGINE) $(PROJECT) $(SERVICES)
	@echo; $(IN_CODE_SERVER) loan-default doctor

BACKUP = REPLACE=$(REPLACE) sh docker/backup.sh $(ENGINE) $(PROJECT)
.PHONY: backup
backup: ## Save databases, files and secrets into the new folder TO
	@$(BACKUP) save "$(TO)"

.PHONY: restore
restore: ## Start the stack with what make backup saved into FROM; REPLACE=true where it keeps something already
	@$(BACKUP) secrets "$(FROM)"
	@$(STACK) down
	@$(STACK) up -d postgres
	@$(BACKUP) databases "$(FROM)"
	@$(STACK) up -d code-server
	@$(BACKUP) files "$(FROM)"
	@$(STACK) up -d $(SERVICES)

.PHONY: integration-tests
integration-tests: $(VENV)/dev.stamp ## Build the images and put the stack through its paces; needs root and an engine; ONLY="names"
	@$(PYTEST) $(SHOWN) -m container $(if $(ONLY),-k "$(ONLY)") loan_default_tests/test_containers.py

# uv only resolves; XGBoost's NCCL (469 MB, for several GPUs) is left out, so installing needs --no-deps.
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--no-emit-index-url --no-emit-package nvidia-nccl-cu12 --no-emit-package nvidia-nccl-cu13
# gRPC is another way to buckets, which nobody takes here.
NOT_IN_SCORING := google-cloud-storage-control grpc-google-iam-v1 grpcio grpcio-status
.PHONY: lock
lock: ## Resolve the dependencies again (needs uv on the PATH)
	$(LOCK) --extra tracing pyproject.toml requirements/build.in -o requirements/runtime.lock
	$(LOCK) --extra dask --extra tracing pyproject.toml requirements/build.in -c requirements/runtime.lock -o requirements/dask.lock
	$(LOCK) --extra dev pyproject.toml requirements/build.in -c requirements/runtime.lock -o requirements/dev.lock
	$(LOCK) requirements/checkov.in -o requirements/checkov.lock
	$(LOCK) requirements/mlflow.in -c requirements/runtime.lock -o requirements/mlflow.lock
	$(LOCK) requirements/docs.in -c requirements/dev.lock -o requirements/docs.lock
	$(LOCK) requirements/gcs.in -c requirements/dev.lock -o requirements/gcs.lock
	$(LOCK) $(addprefix --no-emit-package ,$(NOT_IN_SCORING)) requirements/scoring.in -c requirements/runtime.lock \
		-o requirements/scoring.lock

# What is locked stays as long as it fits, so new releases elsewhere change nothing here.
.PHONY: lock-check
lock-check: ## Check that the locks are what the dependencies ask for (needs uv on the PATH)
	@command -v uv >/dev/null || { echo "uv is not on the PATH: pipx install uv" >&2; exit 1; }
	@copy=$$(mktemp -d) && trap 'rm -rf "$$copy"' EXIT && cp -r Makefile pyproject.toml requirements "$$copy" \
		&& $(MAKE) --silent --no-print-directory -C "$$copy" lock >/dev/null && diff -r requirements "$$copy/requirements" \
		|| { echo "The locks and what they are made of are out of step: make lock" >&2; exit 1; }

.PHONY: clean
clean: ## Remove .venv and what tools left behind; data in var/ stays
	rm -rf $(VENV) $(CHECKOV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .cache *.egg-info build dist .github/parser/node_modules

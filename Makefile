# The verbs of this project. Each does all its own set-up.
DEVICE ?=
PROFILE ?= demo
ARGS ?=
# Two files of tests at once, in their order: those that start servers first, so that none of them is left for the end.
BESIDE = -n 2 --dist loadfile --no-loadscope-reorder --durations 15 --durations-min 20
export PYTHON

.PHONY: demo test test-all lint audit up down setup plan constraints

demo: setup  ## Run the whole pipeline (PROFILE=demo or smollm2) and watch it
	@.venv/bin/spot run --profile $(PROFILE) $(ARGS)

test: lint  ## What CI runs
	@.venv/bin/python -m pytest $(BESIDE) -m "not slow" $(ARGS)

test-all: lint  ## Everything, the long tests too
	@.venv/bin/python -m pytest $(BESIDE) $(ARGS)

lint: setup  ## Style and direction of imports
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/lint-imports

# pip-audit ends with status 1 both when it has found something and when it failed; what it says last tells which.
audit: setup  ## Known vulnerabilities of the pinned packages; shown, and no failure (ARGS: options of pip-audit)
	@for device in cpu gpu; do \
	    echo "audit: deployments/constraints/$$device.txt"; \
	    .venv/bin/pip-audit --vulnerability-service osv --timeout 10 --disable-pip --no-deps --progress-spinner off \
	        --requirement deployments/constraints/$$device.txt $(ARGS) 2>.venv/pip-audit.log \
	    || grep -q "^Found" .venv/pip-audit.log || echo "audit: NOT CHECKED, pip-audit failed:"; \
	    tail -n 1 .venv/pip-audit.log; \
	done

up: setup  ## Start Prefect's server and a worker, and deploy the flows (ARGS="--notify URL --schedule CRON")
	@.venv/bin/spot up $(ARGS)

down:  ## Stop what `make up` or `make demo` started
	@.venv/bin/spot down

plan: setup  ## Dry run: what would run, be reused, and cost
	@.venv/bin/spot plan --profile $(PROFILE) $(ARGS)

setup:  ## Make the environment in .venv (DEVICE=cpu or gpu)
	@deployments/setup.sh "$(DEVICE)" "$(PROFILE)"

constraints: setup  ## Pin versions that work together (ARGS=--upgrade: the newest)
	@deployments/constraints/update.sh $(ARGS)

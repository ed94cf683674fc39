# What there is to do here. `make` alone lists it. Every target sets up what it needs and prints what it installs.
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
BUILT := $(or $(CARGO_TARGET_DIR),target)/debug
LAB := scripts/as-root $(BUILT)/serin-lab

.PHONY: help setup build demo test sim soak fuzz lint fmt docs release-week ci-pipeline faults bench-overhead bench-rollback bench-journal lab-build lab-up lab-down clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

setup: ## Install what the lab and the tests need from Debian (root or sudo; starts no service)
	@scripts/setup

build: ## Build every program, unoptimised
	@cargo build --quiet --workspace

demo: ## Start the lab and take a new build to the canary, under traffic
	@scripts/demo

release-week: ## Tell scenarios/release-week.txt in a lab of its own: a week of releases in minutes, and no request fails
	@scripts/release-week

ci-pipeline: ## Have GitLab CI's own files take a build to main in a lab of its own, job by job; one is killed and tried again
	@scripts/ci-pipeline

ONLY ?=
SEED ?= 1
faults: ## Break everything that may break, under traffic, in a lab of its own, and report (under an hour; ONLY=word, SEED=n)
	@scripts/faults --seed $(SEED) $(foreach word,$(ONLY),--only $(word))

test: ## Everything that must hold before a change goes in; ends with the lab, end to end
	@scripts/test

SEEDS ?= 1000
FROM ?= 1
sim: ## Tell the stories of SEEDS seeds from FROM on in the simulator (docs/simulator.md)
	@cargo run --quiet --release -p serin-sim -- --seeds $(SEEDS) --from $(FROM)

soak: ## The same, with every count in full, and a week of releases (well over an hour)
	@SERIN_SOAK=1 scripts/test

TARGET ?=
SECONDS ?= 60
fuzz: ## Look for SECONDS each for inputs that break a reader: of TARGET, or of all (docs/fuzzing.md)
	@SECONDS_EACH="$(SECONDS)" TARGET="$(TARGET)" scripts/fuzz

lint: ## Formatting, clippy with warnings denied, and the house rules
	@scripts/lint

fmt: ## Format the code
	@cargo fmt --all

docs: ## Write the generated documents again
	@cargo build --quiet -p serin-cli
	@cargo xtask docs

bench-overhead: lab-build ## Measure what Serin adds to each step on the lab's hosts, and its memory
	@scripts/bench-overhead

bench-rollback: ## Time the way back of the lab's production: by Serin, and by an Ansible play
	@scripts/bench-rollback

bench-journal: setup ## Measure SQLite's journal and PostgreSQL's beside each other
	@scripts/bench-journal

lab-build:
	@cargo build --quiet -p serin-cli -p serin-lab -p serin-standin

lab-up: setup lab-build ## Start the lab in .lab
	@$(LAB) up

lab-down: lab-build ## End the lab
	@$(LAB) down

clean: ## Remove what was built (a lab that is up stays: make lab-down)
	@rest=$(dir $(BUILT))tmp; [ ! -d "$$rest" ] || scripts/as-root rm -rf "$$rest"
	@cargo clean --quiet

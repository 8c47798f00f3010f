# Every target sets up by itself what is missing on a Debian or Ubuntu machine that has Rust; see tests/setup/.
# PG=NN chooses the PostgreSQL major (14 to 18; 19 by test-matrix). Scripts do the work, so that each can be run by hand.

SHELL := /bin/bash
.DEFAULT_GOAL := help
export PG KEEP FEATURES CHARTS
KMS ?= file
MINUTES ?= 1
LEASES ?= on
PG_CONFIG ?= pg_config
FEATURES ?= kms-aws kms-vault nodes

# One build at a time: cargo uses all cores by itself, and the steps stand in an order.
.NOTPARALLEL:
.PHONY: help setup demo quick test test-clients test-kms test-monitoring test-matrix test-pg-upgrade check dist reproducible sbom deb deb-test site site-look mutants readers evidence rust-check rust-asan asan torture bench install clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14
	@echo "Nightly Rust comes by rustup. For the rest a distribution's Rust does, when it is new enough and has rustfmt (check: clippy)."

setup: ## packages, cargo-pgrx, a private copy of PostgreSQL, the tests' Python
	@tests/setup/all.sh dev

demo: setup ## a table sealed, searched, dumped, restored (KMS=file, aws or vault; KEEP=1 leaves it running; ADOPT=1: a live table's columns)
	@tests/setup/install.sh dev
	@tests/run/python.sh dev $(if $(ADOPT),demo/adopt.py,demo/demo.py "$(KMS)")

quick: setup ## after a small change: unit tests, SQL scripts, the cluster tests that it touches (TESTS="rotation rewrap" chooses)
	@tests/run/quick.sh $(TESTS)

test: rust-check rust-asan check asan ## everything that is tested (nightly Rust)
	tests/run/pgrx-test.sh
	tests/setup/install.sh dev
	tests/run/pg-regress.sh
	tests/run/pytest.sh

test-clients: setup ## the recipes of docs/clients.md by every client (Java, Go and Ruby are packages, installed as root)
	@tests/setup/clients.sh all
	@tests/setup/install.sh dev
	@tests/run/python.sh dev -m pytest clients cluster/test_clients.py

test-kms: setup ## every KMS provider against its real server (LocalStack, Kryoptic and PyKMIP as well)
	@tests/setup/install.sh dev
	@tests/run/kms.sh

test-monitoring: setup ## monitoring/ by a real exporter and Prometheus (CHARTS=docs/monitoring draws its pictures anew)
	@tests/setup/install.sh dev
	@tests/run/monitoring.sh

test-matrix: ## pg_regress and the cluster tests on PostgreSQL 14 to 19, in chroots (root; MAJORS="17 18" chooses)
	@tests/run/matrix.sh $(MAJORS)

test-pg-upgrade: ## pg_upgrade from PostgreSQL 15 to later majors, in their chroots (root; MAJORS="17 18" chooses)
	@tests/matrix/pg-upgrade.sh $(MAJORS)

check: rust-check setup ## format, lints, dependencies, install script
	tests/run/check.sh
	tests/setup/install.sh dev
	tests/run/pgspot.sh

dist: ## the sources of the last commit as PGXN takes them, in target/dist
	@tests/packages/dist.sh

reproducible: rust-check ## whether two builds in different folders make the same bytes, as packages need it (PG_CONFIG, FEATURES as for install)
	@PG_CONFIG="$(PG_CONFIG)" tests/packages/reproducible.sh

sbom: rust-check ## what a package's library is made of (CycloneDX), and the licences of it, in target/sbom
	@tests/packages/sbom.sh

deb: ## Debian packages in target/packages, looked at by lintian (root; MAJORS="15 17 18" chooses, of 15 to 19)
	@tests/packages/deb.sh $(MAJORS)

deb-test: ## each of them in a fresh Debian: installed, the quick start run, purged, installed again (root; MAJORS=)
	@for pg in $(or $(MAJORS),15); do tests/packages/try.sh $$pg || exit 1; done

site: ## the documentation as a site, in target/site (its links are checked)
	@tests/run/site.sh

site-look: ## the site in Chromium, wide and narrow, light and dark, by axe-core (PAGES= some of them)
	@tests/run/site-look.sh $(PAGES)

mutants: rust-check ## mutations of the pure crates, into target/mutants.out (hours; it goes on where it stopped)
	@tests/run/mutants.sh

readers: ## the readers of interop/ as packages, in target/readers
	@tests/run/readers.sh

evidence: rust-check rust-asan setup ## one report of tests, sanitizers, fuzzers, advisories, in target/evidence (hours; STEPS="check asan" chooses)
	@MINUTES=$(MINUTES) tests/run/python.sh dev -m evidence $(STEPS)

# Said at once, and not after minutes of building.
rust-check rust-asan:
	@tests/setup/rust.sh $(@:rust-%=%)

asan: rust-asan setup ## the byte format under AddressSanitizer (nightly Rust)
	tests/run/asan.sh

torture: setup ## random programs on a server that is killed again and again (MINUTES=1, SEED= a number to replay, LEASES=off)
	@tests/setup/install.sh dev
	@tests/run/python.sh dev -m torture.program --minutes "$(MINUTES)" --leases "$(LEASES)" $(if $(SEED),--seed "$(SEED)")

bench: ## everything that is measured, into docs/bench
	@tests/setup/all.sh release
	@tests/setup/packages.sh valgrind
	@tests/setup/install.sh release
	@tests/run/python.sh release -m bench.bench

install: ## a release build into the PostgreSQL of PG_CONFIG (FEATURES="kms-aws kms-vault nodes": KMS providers, and connections to other nodes; also kms-pkcs11, kms-kmip)
	@tests/setup/system-install.sh "$(PG_CONFIG)"

clean: ## remove what was built, and the private copies of PostgreSQL
	@tests/setup/clean.sh

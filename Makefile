# make run      from a bare machine to a gated push: environment, data, the default job
# make test     the tests that fit into a few minutes, with one run of the whole pipeline
# make e2e      the longer ones: more whole runs, the package, the registries, peers, a few planted models
# make platforms  both compiled pipelines, run whole as Kubeflow and Vertex AI run them; gs://
# make long     e2e, platforms and docker in one, which takes less time than one after the other
# make peers    only the tests that compare our attacks with those of Foolbox and of ART
# make planted  send planted bad models through the pipeline; a few of them: make planted ARGS='-m few'
# make test-faults  kill and power cut at every step of push, rollback and bless
# make docker   the image, and whole pipelines in it, in a Docker daemon of the tests' own (as root, on Debian)
# make check    ruff, mypy, import-linter, hadolint
# make bench    measure, and write BENCHMARKS.md
# make sbom     the bill of materials and the licences of all packages, into build/
# make audit    known advisories for the locked packages; fails where no database can be reached
# make install  only prepare the environment

ARGS ?=

.PHONY: run test test-faults e2e platforms docker long peers planted check bench sbom audit install
.DEFAULT_GOAL := run

run: install
	@.venv/bin/gauntlet run $(ARGS)

test: install
	@TF_USE_LEGACY_KERAS=1 TF_CPP_MIN_LOG_LEVEL=2 .venv/bin/pytest -n 2 --dist loadscope --no-loadscope-reorder -m "not faults and not planted and not e2e and not peers and not platforms and not docker" $(ARGS)

e2e: install
	@TF_USE_LEGACY_KERAS=1 TF_CPP_MIN_LOG_LEVEL=2 .venv/bin/pytest -n 2 --dist loadscope --no-loadscope-reorder -m "e2e or peers or few" $(ARGS)

test-faults: install
	@TF_USE_LEGACY_KERAS=1 TF_CPP_MIN_LOG_LEVEL=2 .venv/bin/pytest -n 2 --dist loadscope --durations=10 tests/faults $(ARGS)

platforms: install
	@TF_USE_LEGACY_KERAS=1 TF_CPP_MIN_LOG_LEVEL=2 .venv/bin/pytest -n 2 --dist loadscope --durations=20 -m platforms $(ARGS)

long: install
	@scripts/install-docker
	@TF_USE_LEGACY_KERAS=1 TF_CPP_MIN_LOG_LEVEL=2 .venv/bin/pytest -n 2 --dist loadscope --no-loadscope-reorder --durations=30 -m "e2e or peers or few or platforms or docker" $(ARGS)

docker: install
	@scripts/install-docker
	@TF_USE_LEGACY_KERAS=1 TF_CPP_MIN_LOG_LEVEL=2 .venv/bin/pytest -m docker --durations=0 tests/kubeflow $(ARGS)

peers: install
	@TF_USE_LEGACY_KERAS=1 TF_CPP_MIN_LOG_LEVEL=2 .venv/bin/pytest -m peers tests/robustness/attacks/test_peers.py $(ARGS)

planted: install
	@TF_USE_LEGACY_KERAS=1 TF_CPP_MIN_LOG_LEVEL=2 .venv/bin/pytest -m planted tests/pipeline/test_planted.py $(ARGS)

check: install
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy gauntlet kubeflow pipeline components trainer robustness foundation examples
	@.venv/bin/lint-imports
	@.venv/bin/hadolint kubeflow/Dockerfile

bench: install
	@.venv/bin/python scripts/bench.py $(ARGS)

sbom: install
	@.venv/bin/python scripts/sbom.py $(ARGS)

audit: install
	@.venv/bin/python scripts/audit.py

install:
	@scripts/install

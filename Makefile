# make demo: read the expression in a real photo, offline, from the light core alone
# make test: the full environment and the suite
# Both need Python 3.11 or newer and nothing else; the second call is quick.

PYTHON ?= python3
DEMO := .env-demo
FULL := .env-full
BIN := $(if $(filter Windows_NT,$(OS)),Scripts,bin)
PINS := --constraints constraints.txt

.PHONY: demo test check wheel clean

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

clean:
	rm -rf $(DEMO) $(FULL) demo dist

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

define environment
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "mien needs Python 3.11 or newer: make PYTHON=/path/to/python3")'
$(1)/$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(1)
$(1)/$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
endef

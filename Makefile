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
	@# a portrait that ships with matplotlib
	@$(DEMO)/$(BIN)/python -c 'import shutil, pathlib as p, matplotlib as m; \
		p.Path("demo-output").mkdir(exist_ok=True); \
		shutil.copy(p.Path(m.get_data_path(), "sample_data", "grace_hopper.jpg"), "demo-output/photo.jpg")'
	$(DEMO)/$(BIN)/mien analyze demo-output/photo.jpg --table \
		--annotate demo-output/annotated --output demo-output/photo.json
	@echo "written: demo-output/annotated/photo-mien.jpg, demo-output/photo.json"

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
	rm -rf $(DEMO) $(FULL) demo-output dist

$(DEMO)/.ready: pyproject.toml constraints.txt
	$(call environment,$(DEMO))
	# matplotlib is here for the photo that it ships, nothing else
	$(DEMO)/$(BIN)/uv pip install --quiet --python $(DEMO) $(PINS) --editable . matplotlib
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

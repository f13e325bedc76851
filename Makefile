# Needs make and Python 3.11 or newer; everything else goes into .venv. `make help` lists the commands.

PYTHON ?= python3
PORT ?= 8000

# Progress bars draw nothing in a log, and two threads per process on few cores are slower than one.
export TQDM_DISABLE = 1
export OMP_NUM_THREADS ?= 1
# An environment that happens to be active, or a PYTHONPATH, must not stand in for .venv.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV
# Compiled modules are kept: the tests and the chapters start some hundred processes.
unexport PYTHONDONTWRITEBYTECODE

VENV_PYTHON = .venv/bin/python
JUPYTER_BOOK = $(VENV_PYTHON) .venv/bin/jupyter-book
BUILD_FLAGS ?=

# Whole files side by side, on two cores or more, in the order of collection, which starts with the long ones.
PYTEST = $(VENV_PYTHON) -m pytest -n auto --maxprocesses 4 --dist loadscope --no-loadscope-reorder

.DEFAULT_GOAL = help
.PHONY: help environment book pages test check-pages serve lab course pdf zip linkcheck bench notebooks clean

help:
	@echo "make book        build the book: _build/html/index.html"
	@echo "make test        run every check: style, types, the package's tests, every cell of every chapter,"
	@echo "                 the dashboards in JupyterLab, and the pages of the book where it has been built; what needs"
	@echo "                 a browser is skipped where there is none (Debian's package chromium)"
	@echo "make serve       build the book and serve it at http://127.0.0.1:$(PORT)/ (PORT=8000)"
	@echo "make course      editions for students and instructors, and assignments that nbgrader grades: _build/course"
	@echo "make pdf         build the book and print it as one file: _build/pdf/orthobook.pdf (needs chromium)"
	@echo "make zip         build the book and pack it for reading without a network: _build/orthobook-offline.zip"
	@echo "make linkcheck   follow the book's links to other sites"
	@echo "make lab         open the chapters in JupyterLab, where the dashboards run"
	@echo "make bench       measure the package's speed, in half an hour: _build/benchmarks.jsonl"
	@echo "make notebooks   run the chapters and store their checked outputs again"
	@echo "make clean       remove everything that the commands above made, .venv included"
	@echo
	@echo "Each sets up .venv first, with $(PYTHON); choose another Python with PYTHON=python3.12"

environment:
	@command -v "$(PYTHON)" >/dev/null || { echo "There is no '$(PYTHON)' here: install Python 3.11 or newer, or name it, for example: make book PYTHON=python3.12" >&2; exit 1; }
	@"$(PYTHON)" scripts/prepare_environment.py

book: environment
	@echo "Building the book; running its chapters takes some minutes the first time and after a change of the package ..."
	@$(MAKE) --no-print-directory pages
	@echo "The book is ready: $(CURDIR)/_build/html/index.html"

# The build alone, in whatever .venv holds: `make pages BUILD_FLAGS="-W --keep-going --all"` turns warnings into errors.
pages:
	@$(JUPYTER_BOOK) build -q $(BUILD_FLAGS) .

test: environment
	$(VENV_PYTHON) -m ruff check .
	$(VENV_PYTHON) -m ruff format --check .
	$(VENV_PYTHON) -m mypy
	$(PYTEST)
	@[ ! -e _build/html/index.html ] || $(MAKE) --no-print-directory pages check-pages

# The built book as it is, in a browser.
check-pages:
	$(PYTEST) tests/site

serve: book
	@echo "Serving the book at http://127.0.0.1:$(PORT)/ (stop with Ctrl-C)"
	@$(VENV_PYTHON) -m http.server --bind 127.0.0.1 --directory _build/html $(PORT)

course: environment
	@$(VENV_PYTHON) scripts/make_course.py

pdf: book
	@$(VENV_PYTHON) scripts/make_pdf.py

zip: book
	@$(VENV_PYTHON) scripts/make_offline_zip.py

# Needs a network, and says nothing about the book itself, so no test depends on it.
linkcheck: environment
	@$(JUPYTER_BOOK) build -q --builder linkcheck .

lab: environment
	@cd book && ../$(VENV_PYTHON) -m jupyterlab

bench: environment
	@$(VENV_PYTHON) benchmarks/run_all.py

notebooks: environment
	$(VENV_PYTHON) scripts/normalise_notebooks.py

clean:
	rm -rf .venv _build build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

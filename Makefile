# Shortcuts; CMakePresets.json holds the builds, scripts/ the steps. `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help build serve test format lint clean

# on, off, or auto: with the CUDA backend where there are a driver and nvcc.
OCTAVO_CUDA ?= auto
# The program alone needs no test libraries. A build folder that is there keeps what it was configured for.
CONFIGURE_PROGRAM = test -f build/release/build.ninja || cmake --preset release -DOCTAVO_TESTS=OFF -DOCTAVO_CUDA=$(OCTAVO_CUDA)
SOURCES = git ls-files --cached --others --exclude-standard -- '*.cc' '*.h' '*.cu' '*.cuh'

help:
	@echo "make serve    install what is missing, build, and serve the bundled model (ARGS=... for octavo serve)"
	@echo "make test     install what is missing, build everything, and run every test"
	@echo "make build    build the program: build/octavo"
	@echo "make format   format the sources in place"
	@echo "make lint     run clang-tidy over the sources"
	@echo "make clean    remove everything that was built"

build:
	@scripts/setup
	@$(CONFIGURE_PROGRAM)
	@cmake --build --preset release --target octavo

serve: build
	@exec build/octavo serve $(ARGS)

test:
	@scripts/setup --tests
	@cmake --preset release -DOCTAVO_TESTS=ON -DOCTAVO_CUDA=$(OCTAVO_CUDA)
	@cmake --build --preset release
	@scripts/run-tests

format:
	@scripts/setup --tests
	@$(SOURCES) | xargs clang-format-14 -i

lint:
	@scripts/setup --tests
	@cmake --preset release -DOCTAVO_TESTS=ON
	@run-clang-tidy-14 -quiet -p build/release 'src/.*\.cc$$'

clean:
	@rm -rf build

# What a person types. The work is done by CMakePresets.json, deploy/ and tests/run.sh.

JOBS ?= $(shell nproc)
TIER ?= quick
export TASKHUB_JOBS = $(JOBS)

CLANG_FORMAT ?= clang-format-14
SOURCES = find common worker coordinator cli examples tests -name '*.[ch]' -print0

.PHONY: help build demo check format format-check clean

help:
	@echo 'make build         optimised programs in build/bin, applications in build/apps'
	@echo 'make demo          build, then run deploy/demo.sh'
	@echo 'make check         every quick test, the sanitizers included; TIER=long for all of them'
	@echo 'make format        format the sources; format-check only says what it would change'
	@echo 'make clean         remove build/'
	@echo
	@echo 'build, demo and check first install the Debian packages that are missing.'
	@echo 'JOBS=n bounds how many compilers and tests run at once.'

build:
	@deploy/install-deps.sh build
	@cmake --preset release -DTASKHUB_TESTS=OFF
	@cmake --build --preset release --parallel $(JOBS)
	@rm -rf build/bin build/apps
	@mkdir -p build/bin build/apps build/release/bin build/release/apps
	@find build/release/bin -maxdepth 1 -type f -exec ln -sr -t build/bin {} +
	@find build/release/apps -maxdepth 1 -type f -exec ln -sr -t build/apps {} +

demo: build
	@deploy/install-deps.sh demo
	@deploy/demo.sh

check:
	@deploy/install-deps.sh check
	@tests/run.sh $(TIER)

format:
	@$(SOURCES) | xargs -0 -r $(CLANG_FORMAT) -i

format-check:
	@$(SOURCES) | xargs -0 -r $(CLANG_FORMAT) --dry-run -Werror

clean:
	@rm -rf build

taskhub_fuzzer(fuzz_wire SOURCES fuzz_wire.c LINK th_worker)

taskhub_fuzzer(fuzz_http SOURCES fuzz_http.c LINK th_api PkgConfig::jansson)

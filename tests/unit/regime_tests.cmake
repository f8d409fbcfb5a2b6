taskhub_test(unit_regime SOURCES regime_test.c LINK th_example_regime PkgConfig::jansson LABELS quick)

taskhub_test(unit_regime SOURCES regime_test.c LINK th_example_regime LABELS quick)
taskhub_test(unit_regime_data SOURCES regime_data_test.c LINK th_example_regime LABELS quick)

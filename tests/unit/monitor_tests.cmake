taskhub_test(unit_monitor_merge SOURCES monitor_merge_test.c LINK th_monitor LABELS quick)

foreach(unit orchestrator)
    taskhub_test(unit_sdk_${unit}
        SOURCES sdk_${unit}_test.c sdk_driver.c LINK th_sdk LABELS quick)
endforeach()

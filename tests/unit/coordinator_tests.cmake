if(TARGET th_coordinator)
    taskhub_test(unit_coordinator_purge SOURCES coordinator_purge_test.c api_fake.c
        LINK th_coordinator LABELS quick)
endif()

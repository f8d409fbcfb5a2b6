if(TARGET th_provider_fleet)
    taskhub_test(unit_fleet SOURCES fleet_test.c
        LINK th_provider_fleet th_provider_simulated LABELS quick)
endif()

if(TARGET th_worker)
    taskhub_test(unit_worker_pool SOURCES worker_pool_test.c LINK th_worker LABELS quick)
    taskhub_test(unit_worker_flight SOURCES worker_flight_test.c LINK th_worker LABELS quick)
    taskhub_test(unit_worker_supervisor SOURCES worker_supervisor_test.c LINK th_worker LABELS quick)
    taskhub_test(unit_worker_host SOURCES worker_host_test.c LINK th_worker LABELS quick)
    taskhub_test(unit_worker_wire SOURCES worker_wire_test.c model_sample.c LINK th_worker
        LABELS quick)
endif()

taskhub_test(unit_doctor
    SOURCES doctor_test.c partition_desk.c LINK th_doctor th_partition th_provider LABELS quick)

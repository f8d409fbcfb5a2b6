if(TARGET th_provider_kafka)
    taskhub_test(unit_kafka_lane SOURCES kafka_lane_test.c LINK th_provider_kafka LABELS quick)
endif()

if(TARGET th_provider_kafka)
    taskhub_program(kafka_append SOURCES kafka_append.c LINK th_provider_kafka)
endif()

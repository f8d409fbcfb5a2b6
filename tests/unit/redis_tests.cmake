if(TARGET th_provider_redis)
    taskhub_test(unit_redis_parts
        SOURCES redis_parts_test.c
        LINK th_provider_redis PkgConfig::hiredis
        LABELS quick)
endif()

if(TARGET th_provider_redis)
    taskhub_fuzzer(fuzz_redis SOURCES fuzz_redis.c LINK th_provider_redis PkgConfig::hiredis)
endif()

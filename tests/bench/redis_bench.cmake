if(TARGET th_provider_redis AND TARGET redis_server)
    taskhub_program(redis_projection
        SOURCES redis_projection.c
        LINK redis_server th_provider_redis)
endif()

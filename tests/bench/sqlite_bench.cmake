if(TARGET th_provider_sqlite)
    taskhub_program(sqlite_append SOURCES sqlite_append.c LINK th_provider_sqlite)
endif()

if(TARGET th_grpc AND TARGET grpc_client)
    taskhub_program(grpc_calls SOURCES grpc_calls.c LINK grpc_client th_grpc)
    target_include_directories(grpc_calls PRIVATE "${PROJECT_SOURCE_DIR}/tests")
endif()

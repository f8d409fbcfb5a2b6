if(TARGET th_grpc)
    taskhub_fuzzer(fuzz_grpc SOURCES fuzz_grpc.c LINK th_grpc PkgConfig::libnghttp2)

    # Writes the seeds below corpus/ anew; see its head.
    if(TASKHUB_FUZZ)
        taskhub_executable(grpc_seeds FOLDER bin/fuzz
            SOURCES grpc_seeds.c ../unit/grpc_client.c LINK th_base PkgConfig::libnghttp2)
        target_include_directories(grpc_seeds PRIVATE "${PROJECT_SOURCE_DIR}/tests")
    endif()
endif()

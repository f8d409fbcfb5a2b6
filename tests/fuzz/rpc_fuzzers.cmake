taskhub_fuzzer(fuzz_rpc SOURCES fuzz_rpc.c LINK th_rpc)

# Writes the seeds below corpus/ anew; see its head.
if(TASKHUB_FUZZ)
    taskhub_executable(rpc_seeds FOLDER bin/fuzz SOURCES rpc_seeds.c ../unit/rpc_sample.c LINK th_rpc)
    target_include_directories(rpc_seeds PRIVATE "${PROJECT_SOURCE_DIR}/tests")
endif()

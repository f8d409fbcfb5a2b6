taskhub_fuzzer(fuzz_info SOURCES fuzz_info.c LINK th_engine)
taskhub_fuzzer(fuzz_record SOURCES fuzz_record.c LINK th_partition)
taskhub_fuzzer(fuzz_recover SOURCES fuzz_recover.c LINK th_partition)

# Writes the seeds below corpus/ anew when the formats have changed; see its head.
if(TASKHUB_FUZZ)
    taskhub_executable(core_seeds FOLDER bin/fuzz SOURCES core_seeds.c LINK th_partition)
endif()

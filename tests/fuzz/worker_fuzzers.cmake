taskhub_fuzzer(fuzz_wire SOURCES fuzz_wire.c LINK th_worker)

# Writes the seeds below corpus/ anew when the formats have changed; see its head.
if(TASKHUB_FUZZ)
    taskhub_executable(wire_seeds FOLDER bin/fuzz SOURCES wire_seeds.c LINK th_worker)
endif()

taskhub_fuzzer(fuzz_events SOURCES fuzz_events.c LINK th_model)
taskhub_fuzzer(fuzz_message SOURCES fuzz_message.c LINK th_model)
taskhub_fuzzer(fuzz_history_json SOURCES fuzz_history_json.c LINK th_model)
taskhub_fuzzer(fuzz_settings SOURCES fuzz_settings.c LINK th_model)

# Writes the seeds below corpus/ anew when the formats have changed; see its head.
if(TASKHUB_FUZZ)
    taskhub_executable(model_seeds FOLDER bin/fuzz SOURCES model_seeds.c LINK th_model)
endif()

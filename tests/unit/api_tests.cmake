foreach(unit lag metrics text url)
    taskhub_test(unit_api_${unit} SOURCES api_${unit}_test.c LINK th_api LABELS quick)
endforeach()
taskhub_test(unit_api_cron SOURCES api_cron_test.c LINK th_base LABELS quick)
foreach(unit http wait function client)
    taskhub_test(unit_api_${unit}
        SOURCES api_${unit}_test.c api_fake.c api_call.c
        LINK th_api PkgConfig::libcurl LABELS quick)
endforeach()

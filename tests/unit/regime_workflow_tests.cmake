set(regime "${PROJECT_SOURCE_DIR}/examples/regime-switching")
taskhub_test(unit_regime_workflow
    SOURCES regime_workflow_test.c sdk_driver.c
        ${regime}/activities.c ${regime}/application.c ${regime}/http.c ${regime}/notify.c
        ${regime}/outputs.c ${regime}/plan.c ${regime}/statistics.c
    LINK th_api th_sdk th_example_regime PkgConfig::libcurl LABELS quick)
taskhub_test(unit_regime_http
    SOURCES regime_http_test.c
        ${regime}/http.c ${regime}/notify.c ${regime}/outputs.c ${regime}/plan.c
    LINK th_example_regime PkgConfig::libcurl LABELS quick)
foreach(test workflow http)
    if(TARGET unit_regime_${test})
        target_include_directories(unit_regime_${test} PRIVATE "${PROJECT_SOURCE_DIR}/common/sdk")
    endif()
endforeach()

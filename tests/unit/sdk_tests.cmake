foreach(unit orchestrator request section replay evict)
    taskhub_test(unit_sdk_${unit}
        SOURCES sdk_${unit}_test.c sdk_driver.c LINK th_sdk LABELS quick)
endforeach()
foreach(unit application entity)
    taskhub_test(unit_sdk_${unit} SOURCES sdk_${unit}_test.c LINK th_sdk LABELS quick)
endforeach()

# A copy of the library that tells of each basic block that runs: sdk_scale_test counts them.
if(NOT TASKHUB_FUZZ)
    get_target_property(sources th_sdk SOURCES)
    list(TRANSFORM sources PREPEND ${PROJECT_SOURCE_DIR}/common/sdk/)
    taskhub_library(sdk_counted
        SOURCES ${sources} PUBLIC th_model th_base PkgConfig::jansson PRIVATE ${CMAKE_DL_LIBS})
    target_include_directories(sdk_counted PUBLIC ${PROJECT_SOURCE_DIR}/common)
    target_compile_options(sdk_counted PRIVATE -fsanitize-coverage=trace-pc)
    taskhub_test(unit_sdk_scale
        SOURCES sdk_scale_test.c sdk_driver.c LINK sdk_counted LABELS quick)
endif()

# Both ways to switch stacks, and to guard them, pass the same tests.
taskhub_test(unit_sdk_coroutine SOURCES sdk_coroutine_test.c LINK th_sdk m LABELS quick)
taskhub_test(unit_sdk_coroutine_ucontext
    SOURCES sdk_coroutine_test.c ${PROJECT_SOURCE_DIR}/common/sdk/coroutine.c LINK th_base m
    LABELS quick)
if(TARGET unit_sdk_coroutine_ucontext)
    target_compile_definitions(unit_sdk_coroutine_ucontext PRIVATE
        TH_COROUTINE_UCONTEXT MADV_GUARD_INSTALL=9999) # unknown, as to kernels before 6.13
endif()

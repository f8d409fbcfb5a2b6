if(TARGET th_grpc)
    if(NOT TASKHUB_FUZZ)
        # A client for tests and benchmarks, without sockets and with.
        add_library(grpc_client STATIC grpc_client.c grpc_wire.c grpc_certificates.c)
        target_include_directories(grpc_client PUBLIC
            "${PROJECT_SOURCE_DIR}/tests" "${PROJECT_SOURCE_DIR}/common")
        target_link_libraries(grpc_client
            PUBLIC th_base PkgConfig::libnghttp2 PkgConfig::openssl PRIVATE taskhub_flags)
    endif()
    taskhub_test(unit_grpc_text
        SOURCES grpc_text_test.c LINK th_grpc PkgConfig::libnghttp2 LABELS quick)
    foreach(test call clock flood flow)
        taskhub_test(unit_grpc_${test}
            SOURCES grpc_${test}_test.c grpc_rig.c LINK grpc_client th_grpc LABELS quick)
    endforeach()
    foreach(test server tls)
        taskhub_test(unit_grpc_${test}
            SOURCES grpc_${test}_test.c LINK grpc_client th_grpc LABELS quick)
    endforeach()
endif()

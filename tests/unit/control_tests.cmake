if(TARGET th_control)
    taskhub_test(unit_control_member SOURCES control_member_test.c LINK th_control LABELS quick)
    taskhub_test(unit_control_liveness SOURCES control_liveness_test.c LINK th_control LABELS quick)
endif()

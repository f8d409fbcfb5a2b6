foreach(unit arena arguments buffer clock error hash log memory queue str uuid)
    taskhub_test(unit_base_${unit} SOURCES base_${unit}_test.c LINK th_base LABELS quick)
endforeach()

foreach(unit begin finish entity rewind info)
    taskhub_test(unit_engine_${unit}
        SOURCES engine_${unit}_test.c engine_bench.c LINK th_engine LABELS quick)
endforeach()

foreach(unit trace)
    taskhub_test(unit_partition_${unit}
        SOURCES partition_${unit}_test.c partition_desk.c LINK th_partition LABELS quick)
endforeach()

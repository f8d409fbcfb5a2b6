taskhub_test(unit_record_codec SOURCES record_codec_test.c LINK th_partition LABELS quick)
foreach(unit trace gap park recovery project bounds flush found clean doubt out entity upgrade)
    taskhub_test(unit_partition_${unit}
        SOURCES partition_${unit}_test.c partition_desk.c LINK th_partition th_provider LABELS quick)
endforeach()

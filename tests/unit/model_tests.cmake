foreach(unit codec event json name settings)
    taskhub_test(unit_model_${unit}
        SOURCES model_${unit}_test.c model_sample.c LINK th_model PkgConfig::msgpack LABELS quick)
    # Its unpacker, to check ours against; th_model itself needs only the packing headers.
endforeach()

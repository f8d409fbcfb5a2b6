taskhub_test(unit_rpc_dispatch SOURCES rpc_dispatch_test.c LINK th_rpc LABELS quick)
foreach(unit message event work client dapr)
    taskhub_test(unit_rpc_${unit} SOURCES rpc_${unit}_test.c rpc_sample.c LINK th_rpc LABELS quick)
endforeach()

taskhub_test(unit_rpc_dispatch SOURCES rpc_dispatch_test.c LINK th_rpc LABELS quick)

/* apps/bench.so */
#include "bench_functions.h"

TH_APPLICATION(app)
{
    bench_register(app);
}

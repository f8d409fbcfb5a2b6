/* An application of another kind in the same hub: it has no orchestrators, and one activity that
 * the others call. */
#include <taskhub.h>

#include <unistd.h>

static int paint(struct th_activity *activity)
{
    return th_activity_return(activity, json_integer(getpid()));
}

TH_APPLICATION(app)
{
    th_activity(app, "paint", paint);
}

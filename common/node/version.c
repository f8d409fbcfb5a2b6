/* version: which versions of an orchestrator this process may run (host.json versionMatchStrategy).
 */
#include "node/internal.h"

/* Compares dotted versions number by number; parts that are no numbers compare as text. */
static int version_compare(struct th_str a, struct th_str b)
{
    size_t at = 0, bt = 0;

    while (at < a.len || bt < b.len) {
        size_t a_end = at, b_end = bt;
        long long a_number = 0, b_number = 0;
        struct th_str a_part, b_part;
        int order;

        while (a_end < a.len && a.data[a_end] != '.')
            a_end++;
        while (b_end < b.len && b.data[b_end] != '.')
            b_end++;
        a_part = th_str_n(a.data + at, a_end - at);
        b_part = th_str_n(b.data + bt, b_end - bt);
        if ((a_part.len == 0 || th_str_to_i64(a_part, &a_number)) &&
            (b_part.len == 0 || th_str_to_i64(b_part, &b_number)))
            order = (a_number > b_number) - (a_number < b_number);
        else
            order = th_str_cmp(a_part, b_part);
        if (order != 0)
            return order;
        at = a_end < a.len ? a_end + 1 : a.len;
        bt = b_end < b.len ? b_end + 1 : b.len;
    }
    return 0;
}

bool version_fits(const struct th_node_options *o, struct th_str version)
{
    const struct th_str ours = th_str_of(o->version);

    if (!o->version || o->version_match == TH_VERSION_MATCH_NONE)
        return true;
    if (o->version_match == TH_VERSION_MATCH_STRICT)
        return th_str_eq(version, ours);
    return version_compare(version, ours) <= 0;
}

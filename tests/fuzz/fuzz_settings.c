/* Any bytes as host.json, and what follows the first NUL as local.settings.json; the same bytes
 * as names. */
#include "tests/fuzz/fuzz.h"

#include "model/name.h"
#include "model/settings.h"

/* Some names are set, to odd values. */
static const char *environment(void *argument, const char *name)
{
    return strcmp(name, "E") == 0 ? "%E%" : strcmp(name, "N") == 0 ? "12" : NULL;
}

static void use(const struct th_settings *settings)
{
    TH_BUFFER text = {0};
    th_settings_show(settings, &text);
    enum th_level level;
    th_settings_level(settings, TH_STR("Host.Concurrency"), &level);
    MUST(th_hub_name_check(settings->hub_name, NULL));
    for (size_t i = 0; i < settings->warning_count; i++) {
        MUST(settings->warnings[i].len > 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
    size_t host_size = nul ? (size_t)(nul - data) : size;
    struct th_str host = input_of(data, host_size);
    struct th_str local = nul ? input_of(nul + 1, size - host_size - 1) : TH_STR_ABSENT;
    struct th_error error = {0};
    TH_SETTINGS_AUTO settings = {0};
    if (th_settings_parse(host, local, environment, NULL, &settings, &error)) {
        use(&settings);
    } else {
        MUST(error.code == TH_INVALID && error.message[0]);
    }
    if (th_instance_id_check(host, NULL)) {
        MUST(th_utf8_valid(host) && host.len <= TH_INSTANCE_ID_MAX);
    }
    th_function_name_check(host, NULL);
    return 0;
}

/*
 * Reading. The tree of host.json is walked once; a path that is an option sets it, one that is the
 * beginning of an option's is entered, everything else is either known and without meaning here
 * or unknown. A value takes one way whatever it comes from: it becomes text, "%Name%" is replaced,
 * and the option's type reads the text.
 */
#include "model/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/memory.h"
#include "model/name.h"
#include "model/settings_table.h"

/* Keys that applications have and that mean nothing here, with what is below them. Where a reason
 * stands, someone may have counted on the key and is told; the others come with every project. */
#define IGNORED_KEYS(X)                                                                           \
    X("version", NULL)                                                                            \
    X("$schema", NULL)                                                                            \
    X("extensionBundle", NULL)                                                                    \
    X("managedDependency", NULL)                                                                  \
    X("watchDirectories", NULL)                                                                   \
    X("watchFiles", NULL)                                                                         \
    X("logging.applicationInsights", NULL)                                                        \
    X("logging.console", NULL)                                                                    \
    X("logging.fileLoggingMode", NULL)                                                            \
    X(TH_DURABLE "storageProvider.type", "the store is chosen when the hub is made")              \
    X(TH_DURABLE "storageProvider.connectionName", "the store is chosen when the hub is made")    \
    X(TH_DURABLE "storageProvider.connectionStringName",                                          \
      "the store is chosen when the hub is made")                                                 \
    X(TH_DURABLE "storageProvider.controlQueueBatchSize", "there are no queues to poll")          \
    X(TH_DURABLE "storageProvider.controlQueueBufferThreshold", "there are no queues to poll")    \
    X(TH_DURABLE "storageProvider.controlQueueVisibilityTimeout", "there are no queues to poll")  \
    X(TH_DURABLE "storageProvider.workItemQueueVisibilityTimeout", "there are no queues to poll") \
    X(TH_DURABLE "storageProvider.maxQueuePollingInterval", "there are no queues to poll")        \
    X(TH_DURABLE "useGracefulShutdown", "shutting down is always graceful")                       \
    X(TH_DURABLE "useAppLease", "several workers may serve one hub")                              \
    X(TH_DURABLE "storeInputsInOrchestrationHistory", "inputs are always in the history")         \
    X(TH_DURABLE "notifications", "there is no event grid to notify")

enum { LARGEST_FILE = 1 << 20 };

struct parse {
    struct th_settings *out;
    struct th_error *error;
    const char *host_name; /* as messages call the files */
    const char *local_name;
};

/* ---- warnings ---- */

static void warn(struct parse *parse, struct th_str sentence)
{
    struct th_settings *out = parse->out;
    out->warnings = th_grow(out->warnings, &out->warning_capacity, out->warning_count + 1,
                            sizeof(*out->warnings));
    out->warnings[out->warning_count++] = sentence;
}

#define WARN(parse, ...) warn((parse), th_arena_format(&(parse)->out->arena, __VA_ARGS__))

/* ---- application settings ---- */

static const char *environment_value(const struct th_settings *settings, const char *name)
{
    return settings->environment ? settings->environment(settings->environment_argument, name)
                                 : NULL;
}

struct th_str th_settings_value(const struct th_settings *settings, const char *name)
{
    const char *value = environment_value(settings, name);
    if (value) {
        return th_str_of(value);
    }
    for (size_t i = 0; i < settings->value_count; i++) {
        if (th_str_eq_nocase(settings->values[i].name, th_str_of(name))) {
            return settings->values[i].value;
        }
    }
    return TH_STR_ABSENT;
}

const char *th_settings_getenv(void *argument, const char *name)
{
    return getenv(name);
}

/* Replaces each "%Name%"; a lone "%" stays. `place` is what the error names. */
static bool replace_names(struct parse *parse, const char *place, struct th_str text,
                          struct th_buffer *out)
{
    while (text.len > 0) {
        const char *open = memchr(text.data, '%', text.len);
        const char *end = text.data + text.len;
        const char *close = open ? memchr(open + 1, '%', (size_t)(end - open - 1)) : NULL;
        if (!close || close == open + 1) {
            size_t plain = close ? (size_t)(close + 1 - text.data) : text.len;
            th_buffer_add(out, text.data, plain);
            text = (struct th_str){text.data + plain, text.len - plain};
            continue;
        }
        struct th_str name = {open + 1, (size_t)(close - open - 1)};
        const char *copy = th_arena_str(&parse->out->arena, name).data;
        struct th_str value = th_settings_value(parse->out, copy);
        if (!th_str_present(value)) {
            return th_fail(parse->error, TH_INVALID,
                           "%s: \"%%%.100s%%\" names neither an environment variable nor a value "
                           "in %s",
                           place, copy, parse->local_name);
        }
        th_buffer_add(out, text.data, (size_t)(open - text.data));
        th_buffer_str(out, value);
        text = (struct th_str){close + 1, (size_t)(end - close - 1)};
    }
    return true;
}

/* ---- values ---- */

/* `text` absent: the value was an object or a list. */
static bool wrong_value(struct parse *parse, const char *place, const struct th_option *option,
                        struct th_str text)
{
    TH_BUFFER rule = {0};
    th_option_rule(&rule, option);
    struct th_str shown = {text.data, text.len > 60 ? 60 : text.len};
    const char *quote = th_str_present(text) ? "\"" : "";
    return th_fail(parse->error, TH_INVALID, "%.200s %.*s, not %s%.*s%s", place,
                   TH_PRI(th_buffer_view(&rule)), quote,
                   TH_PRI(quote[0] ? shown : TH_STR("an object or a list")), quote);
}

static bool check_hub(struct parse *parse, const char *place)
{
    struct th_error why = {0};
    return th_hub_name_check(parse->out->hub_name, &why) ||
           th_fail(parse->error, TH_INVALID, "%.200s: %.290s", place, why.message);
}

/* The one way into an option. `place` says where the text was found. */
static bool set_option(struct parse *parse, size_t index, const char *place, struct th_str text)
{
    TH_BUFFER replaced = {0};
    if (!replace_names(parse, place, text, &replaced)) {
        return false;
    }
    struct th_settings *out = parse->out;
    if (!th_option_set(out, &th_options[index], th_buffer_view(&replaced))) {
        return wrong_value(parse, place, &th_options[index], th_buffer_view(&replaced));
    }
    out->given[index] = true;
    return index != TH_SETTING_hub_name || check_hub(parse, place);
}

/* A JSON scalar as text; absent for anything else. */
static struct th_str scalar_text(struct th_arena *arena, const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_STRING:
        return th_arena_str(arena,
                            (struct th_str){json_string_value(value), json_string_length(value)});
    case JSON_INTEGER:
        return th_arena_format(arena, "%lld", (long long)json_integer_value(value));
    case JSON_REAL:
        return th_arena_format(arena, "%.17g", json_real_value(value));
    case JSON_TRUE:
        return TH_STR("true");
    case JSON_FALSE:
        return TH_STR("false");
    default:
        return TH_STR_ABSENT;
    }
}

static bool set_from_json(struct parse *parse, size_t index, const char *place, const json_t *value)
{
    const struct th_option *option = &th_options[index];
    struct th_str text = scalar_text(&parse->out->arena, value);
    if (!th_str_present(text)) {
        return wrong_value(parse, place, option, TH_STR_ABSENT);
    }
    if (option->type == TH_OPTION_TEXT && !json_is_string(value)) {
        return wrong_value(parse, place, option, text);
    }
    if (parse->out->given[index]) {
        WARN(parse, "%s is given twice; this one counts", place);
    }
    return set_option(parse, index, place, text);
}

/* ---- host.json ---- */

/* Where a walk is: the path by the table's words, and as the file has it. */
struct path {
    struct th_str known;
    struct th_str written;
};

static bool starts_nocase(struct th_str s, struct th_str prefix)
{
    return s.len >= prefix.len && th_str_eq_nocase((struct th_str){s.data, prefix.len}, prefix);
}

/* `below` stands under `above` in the tree of keys. */
static bool is_below(struct th_str below, struct th_str above)
{
    return below.len > above.len && below.data[above.len] == '.' && starts_nocase(below, above);
}

static struct path enter(struct th_arena *arena, struct path parent, const char *key)
{
    struct path path;
    if (parent.known.len == 0) {
        bool old = th_str_eq_nocase(th_str_of(key), TH_STR("durableTask")) ||
                   th_str_eq_nocase(th_str_of(key), TH_STR("http"));
        path.written = th_arena_str(arena, th_str_of(key));
        path.known = old ? th_arena_format(arena, "extensions.%s", key) : path.written;
    } else {
        path.known = th_arena_format(arena, "%.*s.%s", TH_PRI(parent.known), key);
        path.written = th_arena_format(arena, "%.*s.%s", TH_PRI(parent.written), key);
    }
    return path;
}

static size_t option_at(struct th_str known)
{
    for (size_t i = 0; i < TH_SETTING_COUNT; i++) {
        if (th_str_eq_nocase(th_str_of(th_options[i].key), known)) {
            return i;
        }
    }
    return TH_SETTING_COUNT;
}

static bool leads_to_option(struct th_str known)
{
    for (size_t i = 0; i < TH_SETTING_COUNT; i++) {
        if (is_below(th_str_of(th_options[i].key), known)) {
            return true;
        }
    }
    return false;
}

/* True when the key is one that means nothing here; says so when somebody may care. */
static bool ignored(struct parse *parse, struct path path, const char *place)
{
    static const struct {
        const char *key;
        const char *reason;
    } keys[] = {
#define X(key, reason) {key, reason},
        IGNORED_KEYS(X)
#undef X
    };
    for (size_t i = 0; i < TH_COUNT(keys); i++) {
        if (th_str_eq_nocase(th_str_of(keys[i].key), path.known)) {
            if (keys[i].reason) {
                WARN(parse, "%s has no effect: %s", place, keys[i].reason);
            }
            return true;
        }
    }
    return false;
}

static bool add_category(struct parse *parse, struct path path, const char *place,
                         const json_t *value)
{
    struct th_settings *out = parse->out;
    struct th_str level = scalar_text(&out->arena, value);
    enum th_log_level unused;
    if (!th_str_present(level) || !th_option_choose(TH_OPTION_LEVEL, level, &unused)) {
        return wrong_value(parse, place, &th_options[TH_SETTING_log_level], level);
    }
    size_t skip = sizeof("logging.logLevel.") - 1;
    struct th_str name = {path.known.data + skip, path.known.len - skip};
    out->categories = th_grow(out->categories, &out->category_capacity, out->category_count + 1,
                              sizeof(*out->categories));
    out->categories[out->category_count++] = (struct th_setting_pair){name, level};
    return true;
}

static bool walk(struct parse *parse, struct path parent, json_t *object);

static bool visit(struct parse *parse, struct path path, json_t *value)
{
    const char *place =
        th_arena_format(&parse->out->arena, "%s: %.*s", parse->host_name, TH_PRI(path.written))
            .data;
    size_t index = option_at(path.known);
    if (json_is_null(value)) {
        return true;
    }
    if (index < TH_SETTING_COUNT) {
        return set_from_json(parse, index, place, value);
    }
    if (leads_to_option(path.known)) {
        return json_is_object(value)
                   ? walk(parse, path, value)
                   : th_fail(parse->error, TH_INVALID, "%.200s must be an object", place);
    }
    if (is_below(path.known, TH_STR("logging.logLevel"))) {
        return add_category(parse, path, place, value);
    }
    if (!ignored(parse, path, place)) {
        WARN(parse, "%s is not known", place);
    }
    return true;
}

static bool walk(struct parse *parse, struct path parent, json_t *object)
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value) {
        if (!visit(parse, enter(&parse->out->arena, parent, key), value)) {
            return false;
        }
    }
    return true;
}

static json_t *get_nocase(json_t *object, const char *wanted)
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value) {
        if (th_str_eq_nocase(th_str_of(key), th_str_of(wanted))) {
            return value;
        }
    }
    return NULL;
}

static bool read_version(struct parse *parse, json_t *root)
{
    json_t *version = get_nocase(root, "version");
    if (!version) {
        /* The form of version 1.x, which had another default. */
        if (get_nocase(root, "durableTask")) {
            parse->out->hub_name = TH_STR("DurableFunctionsHub");
        }
        return true;
    }
    const char *text = json_string_value(version);
    return (text && strcmp(text, "2.0") == 0) ||
           th_fail(parse->error, TH_INVALID, "%s: version must be \"2.0\"", parse->host_name);
}

static bool read_host(struct parse *parse, json_t *root)
{
    return read_version(parse, root) && walk(parse, (struct path){TH_STR(""), TH_STR("")}, root);
}

/* ---- local.settings.json ---- */

static void add_value(struct parse *parse, const char *name, const json_t *value)
{
    struct th_settings *out = parse->out;
    struct th_str text = scalar_text(&out->arena, value);
    if (!th_str_present(text)) {
        WARN(parse, "%s: Values.%s is left out: it must be a text in quotes", parse->local_name,
             name);
        return;
    }
    out->values =
        th_grow(out->values, &out->value_capacity, out->value_count + 1, sizeof(*out->values));
    out->values[out->value_count++] = (struct th_setting_pair){
        th_arena_str(&out->arena, th_str_of(name)),
        text,
    };
}

static bool read_values(struct parse *parse, json_t *root)
{
    json_t *values = get_nocase(root, "Values");
    if (json_is_true(get_nocase(root, "IsEncrypted"))) {
        WARN(parse, "%s: IsEncrypted is true, so its Values are not read", parse->local_name);
        return true;
    }
    if (values && !json_is_object(values)) {
        return th_fail(parse->error, TH_INVALID, "%s: Values must be an object", parse->local_name);
    }
    const char *name;
    json_t *value;
    json_object_foreach(values, name, value) {
        add_value(parse, name, value);
    }
    return true;
}

static bool read_port(struct parse *parse, json_t *root)
{
    json_t *port = get_nocase(get_nocase(root, "Host"), "LocalHttpPort");
    json_int_t number = json_integer_value(port);
    if (port && (!json_is_integer(port) || number < 1 || number > 65535)) {
        return th_fail(parse->error, TH_INVALID,
                       "%s: Host.LocalHttpPort must be a whole number from 1 to 65535",
                       parse->local_name);
    }
    parse->out->local_http_port = number;
    return true;
}

static bool read_local(struct parse *parse, json_t *root)
{
    static const char *const known[] = {"IsEncrypted", "Values", "Host", "ConnectionStrings"};
    const char *key;
    json_t *value;
    json_object_foreach(root, key, value) {
        bool found = false;
        for (size_t i = 0; i < TH_COUNT(known); i++) {
            found = found || th_str_eq_nocase(th_str_of(key), th_str_of(known[i]));
        }
        if (!found) {
            WARN(parse, "%s: %s is not known", parse->local_name, key);
        }
    }
    return read_values(parse, root) && read_port(parse, root);
}

/* ---- environment ---- */

/* extensions.http.routePrefix → AzureFunctionsJobHost__extensions__http__routePrefix */
static const char *variable_of(struct th_arena *arena, const char *key)
{
    TH_BUFFER name = {0};
    th_buffer_text(&name, "AzureFunctionsJobHost__");
    for (; *key; key++) {
        *key == '.' ? th_buffer_text(&name, "__") : th_buffer_add(&name, key, 1);
    }
    return th_arena_str(arena, th_buffer_view(&name)).data;
}

static bool read_overrides(struct parse *parse)
{
    for (size_t i = 0; i < TH_SETTING_COUNT; i++) {
        const char *name = variable_of(&parse->out->arena, th_options[i].key);
        struct th_str value = th_settings_value(parse->out, name);
        if (th_str_present(value) && !set_option(parse, i, name, value)) {
            return false;
        }
    }
    return true;
}

/* ---- texts ---- */

/* The bytes of the comment at the start of a text; 0: none. An open one goes on to the end. */
static size_t comment_length(struct th_str text)
{
    bool line = th_str_starts(text, TH_STR("//"));
    if (!line && !th_str_starts(text, TH_STR("/*"))) {
        return 0;
    }
    size_t from = line ? 0 : 2;
    const char *end = line ? memchr(text.data, '\n', text.len)
                           : memmem(text.data + from, text.len - from, "*/", 2);
    return end ? (size_t)(end - text.data) + from : text.len;
}

/* The bytes of the string at the start of a text, which is its opening quote. */
static size_t string_length(struct th_str text)
{
    size_t i = 1;
    while (i < text.len && text.data[i] != '"') {
        i += text.data[i] == '\\' ? 2 : 1;
    }
    return i < text.len ? i + 1 : text.len;
}

/* The Functions host allows comments; JSON does not. They become spaces, so that line and column
 * in errors stay right. */
static void blank_comments(char *text, size_t len)
{
    for (size_t i = 0; i < len;) {
        struct th_str rest = {text + i, len - i};
        size_t comment = comment_length(rest);
        for (size_t k = 0; k < comment; k++) {
            text[i + k] = text[i + k] == '\n' ? '\n' : ' ';
        }
        i += comment ? comment : text[i] == '"' ? string_length(rest) : 1;
    }
}

static bool read_json(struct parse *parse, const char *name, struct th_str text,
                      bool (*read)(struct parse *, json_t *))
{
    if (!th_str_present(text)) {
        return true;
    }
    struct th_str mark = TH_STR("\xef\xbb\xbf");
    size_t skip = th_str_starts(text, mark) ? mark.len : 0;
    char *copy = th_arena_dup(&parse->out->arena, text.data + skip, text.len - skip);
    blank_comments(copy, text.len - skip);
    json_error_t where;
    json_t *root = json_loadb(copy, text.len - skip, JSON_REJECT_DUPLICATES, &where);
    bool ok = root && json_is_object(root)
                  ? read(parse, root)
                  : th_fail(parse->error, TH_INVALID, "%.200s, line %d, column %d: %s", name,
                            root ? 1 : where.line, root ? 1 : where.column,
                            root ? "must be an object" : where.text);
    json_decref(root);
    return ok;
}

/* "/api/" and "api" mean the same. */
static void trim_route(struct th_str *route)
{
    while (route->len > 0 && route->data[0] == '/') {
        *route = (struct th_str){route->data + 1, route->len - 1};
    }
    while (route->len > 0 && route->data[route->len - 1] == '/') {
        route->len--;
    }
}

static bool parse_texts(struct parse *parse, struct th_str host, struct th_str local)
{
    bool ok = read_json(parse, parse->local_name, local, read_local) &&
              read_json(parse, parse->host_name, host, read_host) && read_overrides(parse);
    trim_route(&parse->out->route_prefix);
    return ok;
}

bool th_settings_parse(struct th_str host, struct th_str local, th_environment_fn environment,
                       void *environment_argument, struct th_settings *out, struct th_error *error)
{
    *out = th_settings_defaults();
    out->environment = environment;
    out->environment_argument = environment_argument;
    struct parse parse = {out, error, "host.json", "local.settings.json"};
    return parse_texts(&parse, host, local);
}

/* ---- files ---- */

static bool read_all(int fd, struct th_buffer *out)
{
    for (;;) {
        th_buffer_reserve(out, 4096);
        ssize_t got = read(fd, out->data + out->len, 4096);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0 || out->len > LARGEST_FILE) {
            return got == 0;
        }
        out->len += (size_t)got;
    }
}

/* Absent when the file is missing and need not be there. */
static bool read_file(const char *path, bool needed, struct th_buffer *bytes, struct th_str *out,
                      struct th_error *error)
{
    *out = TH_STR_ABSENT;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return (errno == ENOENT && !needed) ||
               th_fail(error, TH_IO, "%s cannot be opened: %s", path, strerror(errno));
    }
    errno = 0;
    bool ok = read_all(fd, bytes);
    int why = errno;
    close(fd);
    if (!ok) {
        return th_fail(error, TH_IO, "%s cannot be read: %s", path,
                       why ? strerror(why) : "it is larger than 1 MiB");
    }
    *out = th_buffer_view(bytes);
    return true;
}

static const char *path_of(struct th_arena *arena, const char *given, const char *directory,
                           const char *name)
{
    if (given) {
        return given;
    }
    return directory ? th_arena_format(arena, "%s/%s", directory, name).data : NULL;
}

static bool load_text(const struct th_settings_source *source, struct th_settings *out,
                      const char *given, const char **name, struct th_buffer *bytes,
                      struct th_str *text, struct th_error *error)
{
    const char *path = path_of(&out->arena, given, source->directory, *name);
    *text = TH_STR_ABSENT;
    if (!path) {
        return true;
    }
    *name = path;
    return read_file(path, given != NULL, bytes, text, error);
}

bool th_settings_load(const struct th_settings_source *source, struct th_settings *out,
                      struct th_error *error)
{
    *out = th_settings_defaults();
    out->environment = source->environment;
    out->environment_argument = source->environment_argument;
    struct parse parse = {out, error, "host.json", "local.settings.json"};
    TH_BUFFER host_bytes = {0};
    TH_BUFFER local_bytes = {0};
    struct th_str host;
    struct th_str local;
    return load_text(source, out, source->host_path, &parse.host_name, &host_bytes, &host, error) &&
           load_text(source, out, source->local_path, &parse.local_name, &local_bytes, &local,
                     error) &&
           parse_texts(&parse, host, local);
}

void th_settings_deinit(struct th_settings *settings)
{
    free(settings->values);
    free(settings->categories);
    free(settings->warnings);
    th_arena_deinit(&settings->arena);
    *settings = (struct th_settings){0};
}

/* ---- what the options mean ---- */

th_reuse th_settings_reuse(const struct th_settings *settings)
{
    return settings->overridable == TH_OVERRIDABLE_ANY ? TH_REUSE_ANY : TH_REUSE_TERMINAL;
}

static enum th_log_level level_for(const struct th_settings *settings, struct th_str category)
{
    enum th_log_level level = settings->log_level;
    size_t longest = 0;
    for (size_t i = 0; i < settings->category_count; i++) {
        const struct th_setting_pair *pair = &settings->categories[i];
        bool covers = th_str_eq_nocase(category, pair->name) || is_below(category, pair->name);
        if (covers && pair->name.len >= longest) {
            th_option_choose(TH_OPTION_LEVEL, pair->value, &level);
            longest = pair->name.len;
        }
    }
    return level;
}

bool th_settings_level(const struct th_settings *settings, struct th_str category,
                       enum th_level *out)
{
    switch (level_for(settings, category)) {
    case TH_LOG_LEVEL_TRACE:
    case TH_LOG_LEVEL_DEBUG:
        *out = TH_LOG_DEBUG;
        return true;
    case TH_LOG_LEVEL_INFORMATION:
        *out = TH_LOG_INFO;
        return true;
    case TH_LOG_LEVEL_WARNING:
        *out = TH_LOG_WARN;
        return true;
    case TH_LOG_LEVEL_ERROR:
    case TH_LOG_LEVEL_CRITICAL:
        *out = TH_LOG_ERROR;
        return true;
    default:
        return false;
    }
}

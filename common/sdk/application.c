/*
 * Registration happens once, on one thread, before anything runs; afterwards the tables are sorted
 * and constant. The author's registration function cannot fail, so the first thing wrong is kept
 * and reported when it returns.
 */
#include "sdk/application.h"

#include <dlfcn.h>
#include <stdlib.h>

#include "base/buffer.h"
#include "base/cron.h"
#include "base/memory.h"
#include "model/name.h"

#define ENTRY_POINT "th_application_register"

enum { NAME_MAX_BYTES = 256 };

struct function {
    struct th_str name;              /* owned */
    void (*code)(void);              /* cast back to what it was registered as */
    const struct th_method *methods; /* of an entity: instead of `code` */
};

struct functions {
    struct function *items;
    size_t count, capacity;
};

struct th_app {
    void *library;
    char *version;
    struct functions orchestrators, activities, entities;
    struct th_http_function *http;
    size_t http_count, http_capacity;
    struct th_cron_function *cron;
    size_t cron_count, cron_capacity;
    struct th_error wrong; /* code TH_OK: nothing so far */
};

/* ---- registration --------------------------------------------------------------------------- */

static bool sound(const struct th_app *app)
{
    return app->wrong.code == TH_OK;
}

static bool name_is_good(struct th_app *app, const char *what, const char *name)
{
    size_t len = name ? strlen(name) : 0;
    if (len == 0 || len > NAME_MAX_BYTES) {
        return th_fail(&app->wrong, TH_INVALID, "the name of %s has %zu bytes; 1 to %d are allowed",
                       what, len, NAME_MAX_BYTES);
    }
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)name[i] < ' ' || name[i] == 127) {
            return th_fail(&app->wrong, TH_INVALID, "the name of %s holds a control character",
                           what);
        }
    }
    return true;
}

static void add_function(struct th_app *app, struct functions *list, const char *what,
                         const char *name, void (*code)(void))
{
    if (!sound(app) || !name_is_good(app, what, name)) {
        return;
    }
    if (!code) {
        th_fail(&app->wrong, TH_INVALID, "%s \"%s\" has no function", what, name);
        return;
    }
    list->items = th_grow(list->items, &list->capacity, list->count + 1, sizeof(*list->items));
    list->items[list->count++] =
        (struct function){.name = th_str_of(th_str_dup(th_str_of(name))), .code = code};
}

void th_orchestrator(struct th_app *app, const char *name, th_orchestrator_fn function)
{
    add_function(app, &app->orchestrators, "an orchestrator", name, (void (*)(void))function);
}

void th_activity(struct th_app *app, const char *name, th_activity_fn function)
{
    add_function(app, &app->activities, "an activity", name, (void (*)(void))function);
}

void th_entity(struct th_app *app, const char *name, th_entity_fn function)
{
    if (sound(app) && name_is_good(app, "an entity", name) &&
        th_entity_name_check(th_str_of(name), &app->wrong)) {
        add_function(app, &app->entities, "an entity", name, (void (*)(void))function);
    }
}

static bool methods_are_good(struct th_app *app, const char *name, const struct th_method *methods)
{
    if (!methods || !methods->operation) {
        return th_fail(&app->wrong, TH_INVALID, "entity \"%s\" has no operations", name);
    }
    for (const struct th_method *m = methods; m->operation; m++) {
        if (!name_is_good(app, "an operation", m->operation)) {
            return false;
        }
        if (!m->function) {
            return th_fail(&app->wrong, TH_INVALID,
                           "operation \"%s\" of entity \"%s\" has no "
                           "function",
                           m->operation, name);
        }
        for (const struct th_method *other = methods; other != m; other++) {
            if (th_str_eq_nocase(th_str_of(other->operation), th_str_of(m->operation))) {
                return th_fail(&app->wrong, TH_EXISTS,
                               "operation \"%s\" of entity \"%s\" is "
                               "registered twice",
                               m->operation, name);
            }
        }
    }
    return true;
}

/* Stands where the function would; th_app_entity gives the table. */
static int has_methods(struct th_entity *entity)
{
    return TH_FAILED;
}

void th_entity_methods(struct th_app *app, const char *name, const struct th_method *methods)
{
    th_entity(app, name, has_methods);
    if (sound(app) && methods_are_good(app, name, methods)) {
        app->entities.items[app->entities.count - 1].methods = methods;
    }
}

void th_app_version(struct th_app *app, const char *version)
{
    free(app->version);
    app->version = th_str_dup(th_str_of(version));
}

static char *upper_without_blanks(const char *text)
{
    char *out = th_alloc(strlen(text) + 1);
    size_t n = 0;
    for (; *text; text++) {
        if (*text != ' ') {
            out[n++] = *text >= 'a' && *text <= 'z' ? (char)(*text - 'a' + 'A') : *text;
        }
    }
    return out;
}

static bool verbs_are_good(const char *methods)
{
    for (size_t i = 0; methods[i]; i++) {
        bool comma = methods[i] == ',';
        bool letter = methods[i] >= 'A' && methods[i] <= 'Z';
        if (!(letter || (comma && i > 0 && methods[i - 1] != ',' && methods[i + 1]))) {
            return false;
        }
    }
    return *methods != '\0';
}

static bool is_word(struct th_str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.data[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!letter && !(c >= '0' && c <= '9' && i > 0)) {
            return false;
        }
    }
    return s.len > 0;
}

/* A plain segment, or one {parameter}. */
static bool segment_is_good(struct th_str s)
{
    if (s.len > 2 && s.data[0] == '{' && s.data[s.len - 1] == '}') {
        return is_word(th_str_n(s.data + 1, s.len - 2));
    }
    for (size_t i = 0; i < s.len; i++) {
        if ((unsigned char)s.data[i] <= ' ' || strchr("{}?#\\%", s.data[i])) {
            return false;
        }
    }
    return s.len > 0;
}

static bool route_is_good(const char *route)
{
    for (;;) {
        size_t len = strcspn(route, "/");
        if (!segment_is_good(th_str_n(route, len))) {
            return false;
        }
        if (!route[len]) {
            return true;
        }
        route += len + 1;
    }
}

static bool route_is_taken(const struct th_app *app, const char *methods, const char *route)
{
    for (size_t i = 0; i < app->http_count; i++) {
        if (th_str_eq_nocase(th_str_of(app->http[i].route), th_str_of(route)) &&
            !strcmp(app->http[i].methods, methods)) {
            return true;
        }
    }
    return false;
}

void th_http_route(struct th_app *app, const char *methods, const char *route,
                   th_client_fn function)
{
    if (!sound(app)) {
        return;
    }
    TH_AUTOFREE char *upper = upper_without_blanks(methods ? methods : "");
    if (!verbs_are_good(upper)) {
        th_fail(&app->wrong, TH_INVALID, "route \"%s\": \"%s\" is no list of methods like GET,POST",
                route ? route : "", methods ? methods : "");
    } else if (!route || !function || !route_is_good(route)) {
        th_fail(&app->wrong, TH_INVALID,
                "route \"%s\" is not made of words and {parameters} between single slashes, "
                "without one in front",
                route ? route : "");
    } else if (route_is_taken(app, upper, route)) {
        th_fail(&app->wrong, TH_EXISTS, "route \"%s\" is registered twice for %s", route, upper);
    } else {
        app->http =
            th_grow(app->http, &app->http_capacity, app->http_count + 1, sizeof(*app->http));
        app->http[app->http_count++] = (struct th_http_function){
            th_str_dup(th_str_of(upper)), th_str_dup(th_str_of(route)), function};
    }
}

void th_cron(struct th_app *app, const char *name, const char *schedule, th_client_fn function)
{
    struct th_cron unused;
    if (!sound(app) || !name_is_good(app, "a cron function", name) ||
        !th_cron_parse(th_str_of(schedule ? schedule : ""), &unused, &app->wrong)) {
        return;
    }
    for (size_t i = 0; i < app->cron_count; i++) {
        if (th_str_eq_nocase(th_str_of(app->cron[i].name), th_str_of(name))) {
            th_fail(&app->wrong, TH_EXISTS, "cron function \"%s\" is registered twice", name);
            return;
        }
    }
    app->cron = th_grow(app->cron, &app->cron_capacity, app->cron_count + 1, sizeof(*app->cron));
    app->cron[app->cron_count++] =
        (struct th_cron_function){.name = th_str_dup(th_str_of(name)),
                                  .schedule = th_str_dup(th_str_of(schedule)),
                                  .function = function};
}

/* ---- sorted tables -------------------------------------------------------------------------- */

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static int compare_nocase(struct th_str a, struct th_str b)
{
    for (size_t i = 0; i < a.len && i < b.len; i++) {
        unsigned char x = (unsigned char)lower(a.data[i]);
        unsigned char y = (unsigned char)lower(b.data[i]);
        if (x != y) {
            return x < y ? -1 : 1;
        }
    }
    return a.len < b.len ? -1 : a.len > b.len;
}

static int by_name(const void *a, const void *b)
{
    return compare_nocase(((const struct function *)a)->name, ((const struct function *)b)->name);
}

static void sort(struct th_app *app, struct functions *list, const char *what)
{
    if (list->count > 1) {
        qsort(list->items, list->count, sizeof(*list->items), by_name);
    }
    for (size_t i = 1; i < list->count && sound(app); i++) {
        if (by_name(&list->items[i - 1], &list->items[i]) == 0) {
            th_fail(&app->wrong, TH_EXISTS, "%s \"%.*s\" is registered twice", what,
                    TH_PRI(list->items[i].name));
        }
    }
}

static const struct function *find(const struct functions *list, struct th_str name)
{
    size_t low = 0;
    size_t high = list->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare_nocase(name, list->items[middle].name);
        if (order == 0) {
            return &list->items[middle];
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return NULL;
}

th_orchestrator_fn th_app_orchestrator(const struct th_app *app, struct th_str name)
{
    const struct function *found = find(&app->orchestrators, name);
    return found ? (th_orchestrator_fn)found->code : NULL;
}

th_activity_fn th_app_activity(const struct th_app *app, struct th_str name)
{
    const struct function *found = find(&app->activities, name);
    return found ? (th_activity_fn)found->code : NULL;
}

static const struct functions *functions_of(const struct th_app *app, enum th_function_kind kind)
{
    switch (kind) {
    case TH_FUNCTION_ORCHESTRATOR:
        return &app->orchestrators;
    case TH_FUNCTION_ACTIVITY:
        return &app->activities;
    default:
        return &app->entities;
    }
}

size_t th_app_function_count(const struct th_app *app, enum th_function_kind kind)
{
    return functions_of(app, kind)->count;
}

struct th_str th_app_function_name(const struct th_app *app, enum th_function_kind kind,
                                   size_t index)
{
    return functions_of(app, kind)->items[index].name;
}

size_t th_app_function_index(const struct th_app *app, enum th_function_kind kind,
                             struct th_str name)
{
    const struct functions *list = functions_of(app, kind);
    const struct function *found = find(list, name);
    return found ? (size_t)(found - list->items) : SIZE_MAX;
}

bool th_app_has(const struct th_app *app, enum th_function_kind kind, struct th_str name)
{
    return app && th_app_function_index(app, kind, name) != SIZE_MAX;
}

bool th_app_entity(const struct th_app *app, struct th_str name, struct th_entity_code *out)
{
    const struct function *found = find(&app->entities, name);
    if (!found) {
        return false;
    }
    *out = (struct th_entity_code){.methods = found->methods};
    if (!found->methods) {
        out->function = (th_entity_fn)found->code;
    }
    return true;
}

static char *names_of(const struct functions *list)
{
    TH_BUFFER out = {0};
    th_buffer_text(&out, "");
    for (size_t i = 0; i < list->count; i++) {
        th_buffer_text(&out, i ? ", " : "");
        th_buffer_str(&out, list->items[i].name);
    }
    return th_buffer_take(&out);
}

char *th_app_orchestrator_names(const struct th_app *app)
{
    return names_of(&app->orchestrators);
}

char *th_app_activity_names(const struct th_app *app)
{
    return names_of(&app->activities);
}

char *th_app_entity_names(const struct th_app *app)
{
    return names_of(&app->entities);
}

const char *th_app_get_version(const struct th_app *app)
{
    return app->version;
}

size_t th_app_http_count(const struct th_app *app)
{
    return app->http_count;
}

const struct th_http_function *th_app_http(const struct th_app *app, size_t index)
{
    return &app->http[index];
}

size_t th_app_cron_count(const struct th_app *app)
{
    return app->cron_count;
}

const struct th_cron_function *th_app_cron(const struct th_app *app, size_t index)
{
    return &app->cron[index];
}

/* ---- life ----------------------------------------------------------------------------------- */

/* After the registration. */
static struct th_app *finished(struct th_app *app, struct th_error *error)
{
    sort(app, &app->orchestrators, "orchestrator");
    sort(app, &app->activities, "activity");
    sort(app, &app->entities, "entity");
    if (!sound(app)) {
        th_fail(error, app->wrong.code, "%s", app->wrong.message);
        th_app_free(app);
        return NULL;
    }
    return app;
}

struct th_app *th_app_from(void (*registration)(struct th_app *), struct th_error *error)
{
    struct th_app *app = TH_NEW(struct th_app);
    registration(app);
    return finished(app, error);
}

struct th_app *th_app_from_with(void (*registration)(struct th_app *, void *), void *argument,
                                struct th_error *error)
{
    struct th_app *app = TH_NEW(struct th_app);
    registration(app, argument);
    return finished(app, error);
}

struct th_app *th_app_load(const char *path, struct th_error *error)
{
    TH_BUFFER name = {0}; /* without a slash, dlopen would search the system's folders */
    th_buffer_format(&name, "%s%s", strchr(path, '/') ? "" : "./", path);
    TH_AUTOFREE char *file = th_buffer_take(&name);
    void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        const char *why = dlerror();
        th_fail(error, TH_INVALID, "cannot load the application: %s", why ? why : path);
        return NULL;
    }
    void (*entry)(struct th_app *);
    *(void **)&entry = dlsym(library, ENTRY_POINT);
    if (!entry) {
        th_fail(error, TH_INVALID, "%s is no Taskhub application: it has no TH_APPLICATION(…) {…}",
                path);
        dlclose(library);
        return NULL;
    }
    struct th_app *app = TH_NEW(struct th_app);
    app->library = library;
    entry(app);
    return finished(app, error);
}

static void free_functions(struct functions *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free((char *)list->items[i].name.data);
    }
    free(list->items);
}

void th_app_free(struct th_app *app)
{
    if (!app) {
        return;
    }
    free_functions(&app->orchestrators);
    free_functions(&app->activities);
    free_functions(&app->entities);
    for (size_t i = 0; i < app->http_count; i++) {
        free(app->http[i].methods);
        free(app->http[i].route);
    }
    for (size_t i = 0; i < app->cron_count; i++) {
        free(app->cron[i].name);
        free(app->cron[i].schedule);
    }
    free(app->http);
    free(app->cron);
    free(app->version);
    if (app->library) {
        dlclose(app->library);
    }
    free(app);
}

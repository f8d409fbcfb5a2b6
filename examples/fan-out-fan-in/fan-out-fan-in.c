/*
 * Fan out, fan in: as many activities at once as there is work, then one sum. Adds up the sizes of
 * all files in a folder.
 *
 * Input: the folder's path.
 */
#include <taskhub.h>

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int list_files(struct th_activity *activity)
{
    const char *folder = json_string_value(th_activity_input(activity));
    DIR *dir = folder ? opendir(folder) : NULL;
    json_t *files = json_array();

    if (!dir) {
        json_decref(files);
        return th_activity_fail_for_good(activity, "NoFolder", "%s: %s",
                                         folder ? folder : "no path given", strerror(errno));
    }
    for (struct dirent *entry; (entry = readdir(dir));)
        if (entry->d_name[0] != '.')
            json_array_append_new(files, json_sprintf("%s/%s", folder, entry->d_name));
    closedir(dir);
    return th_activity_return(activity, files);
}

static int file_size(struct th_activity *activity)
{
    const char *path = json_string_value(th_activity_input(activity));
    struct stat st;

    if (!path || stat(path, &st) != 0)
        return th_activity_fail(activity, "NoFile", "%s: %s", path ? path : "no path given",
                                strerror(errno));
    return th_activity_return(activity, json_integer(S_ISREG(st.st_mode) ? st.st_size : 0));
}

static json_int_t sum(const json_t *numbers)
{
    json_int_t total = 0;
    json_t *number;
    size_t i;

    json_array_foreach(numbers, i, number)
        total += json_integer_value(number);
    return total;
}

static int folder_size(struct th_context *ctx)
{
    json_auto_t *files = th_call(ctx, "list_files", json_incref(th_input(ctx)));
    size_t count = json_array_size(files);

    if (!files)
        return TH_FAILED;
    struct th_task **tasks = calloc(count + 1, sizeof(struct th_task *));
    for (size_t i = 0; i < count; i++)
        tasks[i] = th_schedule(ctx, "file_size", json_incref(json_array_get(files, i)), NULL);
    struct th_task *all = th_all(ctx, tasks, count);
    free(tasks); /* th_all has copied them */
    if (!th_await(ctx, all))
        return TH_FAILED;

    json_auto_t *sizes = th_result(all);
    return th_return_new(ctx,
                         json_pack("{s:I, s:I}", "files", (json_int_t)count, "bytes", sum(sizes)));
}

TH_APPLICATION(app)
{
    th_orchestrator(app, "folder_size", folder_size);
    th_activity(app, "list_files", list_files);
    th_activity(app, "file_size", file_size);
}

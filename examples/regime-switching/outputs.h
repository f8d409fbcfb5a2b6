/*
 * The folder of finished outputs: TASKHUB_OUTPUTS, or "outputs" where the program was started.
 *
 * Files have random names, made before the work begins, so that a client knows at once where its
 * outputs will be. A file appears under its name complete or not at all, and saving it again is
 * harmless. All functions may be called from any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define OUTPUT_NAME_SIZE 42 /* a UUID, ".json" and the NUL */

const char *outputs_folder(void);

/* A new name with this extension, ".json" or ".svg". False: the system has no random numbers. */
bool outputs_new_name(const char *extension, char name[static OUTPUT_NAME_SIZE]);

/* Whether it is a name as above: nothing else is ever served, so no name leads out of the folder.
 */
bool outputs_is_name(const char *name);

/* Where a file of this name is. The caller frees it; NULL when memory runs out. */
char *outputs_path(const char *name);

/*
 * Writes a file and makes it durable; makes the folder when it is missing. Blocks. Returns 0, or a
 * negative errno and a sentence in err.
 */
int outputs_save(const char *name, const void *data, size_t len, char *err, size_t errsize);

/*
 * print: tables and JSON on standard output, for people. Cells are clipped to what a terminal
 * shows; control characters are never sent to it raw.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>

/* One JSON value, indented, and a newline. */
void cli_print_json(const json_t *value);

/* "Name       value" with one width for all; a NULL or JSON-null value prints nothing. */
void cli_print_field(const char *name, const char *text);
void cli_print_json_field(const char *name, const json_t *value);

struct cli_table {
    size_t columns;
    const char *const *titles;
    char **cells; /* rows * columns */
    size_t count, capacity;
};

/* Copies; NULL is an empty cell. */
void cli_table_cell(struct cli_table *table, const char *text);
void cli_table_json_cell(struct cli_table *table, const json_t *value);
/* Prints and frees the cells. */
void cli_table_print(struct cli_table *table);

#include "cli/print.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/memory.h"

#define CELL_MAX 72

void cli_print_json(const json_t *value)
{
    json_dumpf(value, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY | JSON_PRESERVE_ORDER);
    putchar('\n');
}

static void put_clean(const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 32 && c != '\n' && c != '\t')
            printf("\\x%02x", c);
        else
            putchar(c);
    }
}

void cli_print_field(const char *name, const char *text)
{
    if (!text)
        return;
    printf("%-12s", name);
    put_clean(text);
    putchar('\n');
}

void cli_print_json_field(const char *name, const json_t *value)
{
    if (!value || json_is_null(value))
        return;
    if (json_is_string(value)) {
        cli_print_field(name, json_string_value(value));
        return;
    }
    TH_AUTOFREE char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_PRESERVE_ORDER);
    cli_print_field(name, text);
}

/* Length in characters of UTF-8, as columns on a terminal, nearly. */
static size_t width_of(const char *text)
{
    size_t width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

static char *clipped(const char *text)
{
    TH_BUFFER out = {NULL, 0, 0};
    size_t width = 0;
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        bool starts = (c & 0xc0) != 0x80;
        if (starts && ++width > CELL_MAX) {
            th_buffer_text(&out, "…");
            break;
        }
        th_buffer_add(&out, c < 32 ? " " : text, 1);
    }
    return th_buffer_take(&out);
}

void cli_table_cell(struct cli_table *table, const char *text)
{
    table->cells = th_grow(table->cells, &table->capacity, table->count + 1, sizeof *table->cells);
    table->cells[table->count++] = clipped(text ? text : "");
}

void cli_table_json_cell(struct cli_table *table, const json_t *value)
{
    if (!value || json_is_null(value) || json_is_string(value)) {
        cli_table_cell(table, json_string_value(value));
        return;
    }
    TH_AUTOFREE char *text =
        json_dumps(value, JSON_ENCODE_ANY | JSON_PRESERVE_ORDER | JSON_COMPACT);
    cli_table_cell(table, text);
}

static void print_cell(const char *text, size_t width, bool last)
{
    fputs(text, stdout);
    if (last)
        putchar('\n');
    else
        printf("%*s", (int)(width - width_of(text) + 2), "");
}

void cli_table_print(struct cli_table *table)
{
    size_t columns = table->columns;
    TH_AUTOFREE size_t *widths = th_alloc(columns * sizeof *widths);
    for (size_t i = 0; i < columns; i++)
        widths[i] = width_of(table->titles[i]);
    for (size_t i = 0; i < table->count; i++) {
        size_t width = width_of(table->cells[i]);
        if (width > widths[i % columns])
            widths[i % columns] = width;
    }
    for (size_t i = 0; i < columns; i++)
        print_cell(table->titles[i], widths[i], i + 1 == columns);
    for (size_t i = 0; i < table->count; i++) {
        print_cell(table->cells[i], widths[i % columns], (i + 1) % columns == 0);
        free(table->cells[i]);
    }
    free(table->cells);
}

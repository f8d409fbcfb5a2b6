/*
 * document: the JSON documents of the management API, as text. Field names and their order are
 * those that clients of Durable Functions know. Pure.
 */
#pragma once

#include "api/kept.h"
#include "base/buffer.h"

struct th_status_form {
    bool input;   /* show the input, else null */
    bool history; /* with historyEvents */
    bool history_input, history_output;
};

void th_document_status(struct th_buffer *out, const struct th_instance_info *info,
                        const struct th_status_form *form, const struct th_event *history,
                        size_t history_count);

/* One item of a list of entities. */
void th_document_entity(struct th_buffer *out, const struct th_instance_info *info);

/* What URLs of the management API are made of. */
struct th_links {
    struct th_str origin; /* "http://localhost:7071" */
    struct th_str hub;
    struct th_str key;  /* absent: none */
    bool fail_with_500; /* statusQueryGetUri asks for returnInternalServerErrorOnFailure */
};

#define TH_MANAGEMENT_PATH "/runtime/webhooks/durabletask"
#define TH_RPC_PATH        "/durabletask"

void th_document_status_url(struct th_buffer *out, const struct th_links *links,
                            struct th_str instance_id);
/* The body of a 202: where to watch and steer the instance. */
void th_document_check_status(struct th_buffer *out, const struct th_links *links,
                              struct th_str instance_id);
/* What a function host gives to a durable client binding. */
void th_document_binding(struct th_buffer *out, const struct th_links *links);
/* `more`: further members of the object, each followed by a comma; absent: none. */
void th_document_hub(struct th_buffer *out, const struct th_hub_view *hub, struct th_str more);

/* entities: the part of the management API that is about entities (docs/api.md). Each is the first
 * step of an operation; the path's parameters are `name` and `key`. */
#pragma once

#include "api/management.h"

enum th_step th_entities_signal(struct th_operation *op); /* POST, ?op=, input */
enum th_step th_entities_delete(struct th_operation *op); /* DELETE: the signal "delete" */
enum th_step th_entities_read(struct th_operation *op);
enum th_step th_entities_list(struct th_operation *op);

/*
 * The client functions of the application.
 *
 *   POST /api/regime-switching   a request as in request.h. 202: it was started; the answer holds
 *                                the addresses to watch and steer it, and those of its outputs.
 *                                400: a line of plain text for each bad field.
 *   GET /api/outputs/{file}      an output; 404 until it is ready
 *
 * They run on the threads for client functions and may block.
 */
#pragma once

#include <taskhub.h>

int http_ask_for_fit(struct th_request *request);
int http_give_output(struct th_request *request);

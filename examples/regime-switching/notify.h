/*
 * Tells somebody something: by e-mail when SMTP_URL is set, else with a file in the output folder
 * that holds the mail as it would have been sent.
 *
 *   SMTP_URL       smtp://host:587, or smtps://host:465 for TLS from the start
 *   SMTP_FROM      the sender; default regime-switching@localhost
 *   SMTP_USER, SMTP_PASSWORD   when the server wants to know
 *   SMTP_TLS       for smtp://: "required", "try" or "off"; default "required" with a password,
 *                  else "try"
 *   SMTP_CA        a file of certificates to trust instead of the system's
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct letter {
    const char *to;      /* an address that was checked */
    const char *subject; /* UTF-8, one line */
    const char *text;    /* UTF-8, lines end in \n */
    const char *key;     /* the same for every attempt to send this letter */
    const char *file;    /* name of the file that stands for it without SMTP */
};

/*
 * Blocks until the server has taken the mail or the file is durable. Returns 0; or a negative errno
 * and a sentence in err: -EPERM when the server will never take it or the settings make no sense,
 * anything else is worth another attempt. *mailed says which way it went.
 */
int notify_send(const struct letter *letter, bool *mailed, char *err, size_t errsize);

/* The name of the file for an instance: "mail-<id>.txt", whatever the id is made of. */
#define NOTIFY_FILE_SIZE 256
void notify_file(const char *instance_id, char name[static NOTIFY_FILE_SIZE]);

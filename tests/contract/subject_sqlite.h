/* subject_sqlite: the SQLite provider as a subject, also for those who wrap it. */
#pragma once

#include "contract/conformance.h"

extern const struct subject sqlite_subject;

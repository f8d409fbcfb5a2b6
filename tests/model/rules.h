/*
 * rules: what the protocol rests on. Each line: name, what it says. A rule that is broken on
 * purpose must lead to a counter-example; config.c says in which configuration.
 */
#pragma once

#define RULES(X)                                                                               \
    X(ACK_CHECK, "a skipped offset is read back; a claim in it ends the lease")                \
    X(SEQUENCE, "a valid record carries the sequence after the previous valid one's")          \
    X(NONCE, "a valid record carries the nonce of the claim, not only its offset")             \
    X(READ_BACK, "after a reconnect the own last record is read back before more is believed") \
    X(RELEASE_ACKED, "nothing leaves before its record is acknowledged")                       \
    X(DEDUPE, "a message at or below the vector is dropped")                                   \
    X(VECTOR_AT_POSITION, "the vector is that of the position")                                \
    X(POSITION_CONSUMED, "everything below the position is consumed")                          \
    X(MARKS, "offsets consumed above the position are recovered")                              \
    X(LOCALS, "unconsumed local messages are recovered")                                       \
    X(SENT_MARK, "`sent` passes only what is durable in the receiver's inbox")                 \
    X(TRIM_ACKED, "an inbox is trimmed below the position of an acknowledged record only")     \
    X(SCHEDULING, "a completion carries the sequence of the record that scheduled it")         \
    X(NUMBER, "watermarks carry the number of the batch")                                      \
    X(ABOVE, "a reader beside an owner numbers its batches above the owner's")                 \
    X(LATER, "an owner leaves the rows of a later owner alone")                                \
    X(STORED, "a change says whether there is a row of it")                                    \
    X(ROW_COUNT, "the number of rows is compared with the watermark's")                        \
    X(BUILDING, "rows are not believed while they are made again")                             \
    X(FLOOR_BELOW, "the floor's sequence is not above the watermark's")                        \
    X(FLOOR_OFFSET, "a floor below the log's start is not believed, offset 0 neither")         \
    X(WATERMARK_THERE, "the record a watermark points at must be in the log")                  \
    X(SEQUENCE_THERE, "the log holds as many records as the rows reflect")                     \
    X(SKIP, "a record that a row reflects is not folded onto it again")                        \
    X(ROWS_ACKED, "rows hold acknowledged records only")                                       \
    X(COLD_LOOK, "rows that went back, or are not all there, say nothing of absence")          \
    X(TARGET_ACKED, "the target of making the projection again is all that was acknowledged")  \
    X(TARGET_STAMPS, "afterwards each row counts as reflecting the target")                    \
    X(READ_TO_END,                                                                             \
      "who makes the projection again reads the log to its end: a newer claim fences")         \
    X(CLEAR, "the first window drops what is stored")                                          \
    X(OVERTAKEN, "a reader that cleaning overtakes begins again")                              \
    X(CLEAN_CHECKPOINT, "the log is dropped below a checkpoint only")                          \
    X(CLEAN_ACKED, "snapshots count for cleaning when they are acknowledged")                  \
    X(CLEAN_FLOOR, "the log is dropped below a floor of the rows only")                        \
    X(CLEAN_LOOK, "cleaning believes a walk only at the owner's own watermark")

enum rule {
#define RULE_ENUM(name, text) RULE_##name,
    RULES(RULE_ENUM)
#undef RULE_ENUM
        RULE_END
};
#define RULES_TOTAL RULE_END

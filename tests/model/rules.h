/*
 * rules: what the protocol rests on. Each line: name, what it says. A rule that is broken on
 * purpose must lead to a counter-example; README.md says in which configuration.
 */
#pragma once

#define RULES(X)                                                                                \
    X(ACK_CHECK, "a skipped offset is read back; a claim in it ends the lease")                 \
    X(SEQUENCE, "a valid record carries the sequence after the previous valid one's")           \
    X(NONCE, "a valid record carries the nonce of the claim, not only its offset")              \
    X(NONCE_MARK, "a watermark carries the nonce of its owner's claim, too")                    \
    X(READ_BACK, "after a reconnect the own last record is read back before more is believed")  \
    X(RELEASE_ACKED, "nothing leaves before its record is acknowledged")                        \
    X(DEDUPE, "a message at or below the vector is dropped")                                    \
    X(VECTOR_AT_POSITION, "the vector is that of the position")                                 \
    X(POSITION_CONSUMED, "everything below the position is consumed")                           \
    X(MARKS, "offsets consumed above the position are recovered")                               \
    X(LOCALS, "unconsumed local messages are recovered")                                        \
    X(SENT_MARK, "`sent` passes only what is durable in the receiver's inbox")                  \
    X(TRIM_ACKED, "an inbox is trimmed below the position of an acknowledged record only")      \
    X(SCHEDULING, "a completion carries the sequence of the record that scheduled it")          \
    X(EPOCH, "watermarks carry the epoch; a newer one ends the lease")                          \
    X(OFFSET, "a watermark's offset grows with every batch")                                    \
    X(WHOLE, "watermarks are compared whole, floor and number of rows included")                \
    X(ADOPT, "a new owner moves the watermark to its claim before it reads rows")               \
    X(GUARD, "a row is changed only if its `last` is what the change was made for")             \
    X(ROW_COUNT, "the number of rows is compared with the watermark's")                         \
    X(BUILDING, "rows are not believed while they are made again")                              \
    X(FLOOR_BELOW, "the floor's sequence is not above the watermark's")                         \
    X(FLOOR_OFFSET, "a floor below the log's start is not believed, offset 0 neither")          \
    X(WATERMARK_THERE, "the record a watermark points at must be in the log")                   \
    X(SKIP, "a record that a row reflects is not folded onto it again")                         \
    X(ROWS_ACKED, "rows hold acknowledged records only")                                        \
    X(COLD_LOOK, "a row is believed only at the owner's own watermark")                         \
    X(TARGET_ACKED, "the target of making the projection again is all that was acknowledged")   \
    X(TARGET_STAMPS, "afterwards each row counts as reflecting the target")                     \
    X(READ_TO_END,                                                                              \
      "who makes the projection again reads the log to its end: a newer claim fences")          \
    X(CLEAR, "the first window drops what is stored")                                           \
    X(OVERTAKEN, "a reader that cleaning overtakes begins again")                               \
    X(RESEND_SAME, "a batch without answer is sent again as it was")                            \
    X(COPIES, "from its first checkpoint on a log holds a copy, or the end, of all it counts")  \
    X(CLEAN_CHECKPOINT, "the log is dropped below a checkpoint only")                           \
    X(CLEAN_ACKED, "snapshots count for cleaning when they are acknowledged")                   \
    X(CLEAN_PROJECTED, "rows are walked for cleaning when all before the checkpoint are there") \
    X(CLEAN_LOOK, "cleaning believes a walk only at the owner's own watermark")

enum rule {
#define RULE_ENUM(name, text) RULE_##name,
    RULES(RULE_ENUM)
#undef RULE_ENUM
        RULE_END
};
#define RULES_TOTAL RULE_END

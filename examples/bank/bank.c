/*
 * Bank: money goes from one account to another, and no orchestration sees, or leaves, the money
 * between them. A transfer holds both accounts under a lock: first it looks, then it decides, then
 * it moves the money, and nobody else touches the two in between.
 *
 * Input of "transfer": {"from": "anna", "to": "ben", "amount": 20}
 */
#include <taskhub.h>

#include <string.h>

/* ---- an account ------------------------------------------------------------------------------ */

static json_int_t balance_of(struct th_entity *account)
{
    json_auto_t *state = th_entity_state_or(account, json_integer(0));

    return json_integer_value(state);
}

/* What would overdraw the account fails, and the state stays as it is. */
static int change(struct th_entity *account, int sign)
{
    json_t *amount = th_entity_input(account);
    json_int_t before = balance_of(account);
    json_int_t after = before + sign * json_integer_value(amount);

    if (!json_is_integer(amount) || json_integer_value(amount) <= 0)
        return th_entity_fail(account, "NoAmount", "an amount is a whole number above 0");
    if (after < 0)
        return th_entity_fail(account, "Overdrawn", "%s has %lld, not %lld",
                              th_entity_own_key(account), (long long)before,
                              (long long)json_integer_value(amount));
    if (th_entity_set_state(account, json_integer(after)))
        return TH_FAILED;
    return th_entity_return(account, json_integer(after));
}

static int deposit(struct th_entity *account)
{
    return change(account, 1);
}

static int withdraw(struct th_entity *account)
{
    return change(account, -1);
}

static int balance(struct th_entity *account)
{
    return th_entity_return(account, json_integer(balance_of(account)));
}

/* ---- a transfer ------------------------------------------------------------------------------ */

struct transfer {
    char from[TH_ENTITY_ID_SIZE], to[TH_ENTITY_ID_SIZE];
    json_int_t amount;
};

static bool read_transfer(struct th_context *ctx, struct transfer *out)
{
    json_t *input = th_input(ctx);
    const char *from = json_string_value(json_object_get(input, "from"));
    const char *to = json_string_value(json_object_get(input, "to"));

    out->amount = json_integer_value(json_object_get(input, "amount"));
    if (!from || !to || out->amount <= 0)
        return false;
    th_make_entity_id(out->from, "account", from);
    th_make_entity_id(out->to, "account", to);
    return strcmp(out->from, out->to) != 0;
}

/* With both accounts locked. Gives what the payer has left; NULL: not enough, or it failed. */
static json_t *move(struct th_context *ctx, const struct transfer *t)
{
    json_auto_t *left = th_call_entity(ctx, t->from, "withdraw", json_integer(t->amount));
    if (!left)
        return NULL;
    json_auto_t *right = th_call_entity(ctx, t->to, "deposit", json_integer(t->amount));
    return right ? json_incref(left) : NULL;
}

/* Whatever way it ends, and however often the program dies meanwhile, the lock is given back. */
static int transfer(struct th_context *ctx)
{
    struct transfer t;
    if (!read_transfer(ctx, &t))
        return th_fail_with(ctx, "BadTransfer",
                            "needs \"from\", \"to\", two accounts, and an \"amount\" above 0");
    const char *both[] = {t.from, t.to}; /* in any order: they are locked in one that is the same
                                            for all, so that two transfers never wait for each
                                            other */
    if (th_lock(ctx, both, 2))
        return TH_FAILED;
    json_auto_t *left = move(ctx, &t);
    if (!left)
        return TH_FAILED; /* with the account's own failure */
    th_unlock(ctx);
    return th_return_new(ctx, json_pack("{s:O}", "left", left));
}

/* The sum over some accounts at one moment: under the same lock. Input: ["anna", "ben", …]. */
static int audit(struct th_context *ctx)
{
    enum { MOST = 16 };
    char ids[MOST][TH_ENTITY_ID_SIZE];
    const char *locked[MOST];
    size_t count = json_array_size(th_input(ctx));
    json_int_t sum = 0;

    if (count == 0 || count > MOST)
        return th_fail_with(ctx, "BadAudit", "needs a list of 1 to %d accounts", MOST);
    for (size_t i = 0; i < count; i++) {
        const char *key = json_string_value(json_array_get(th_input(ctx), i));
        locked[i] = th_make_entity_id(ids[i], "account", key ? key : "");
    }
    if (th_lock(ctx, locked, count))
        return TH_FAILED;
    for (size_t i = 0; i < count; i++) {
        json_auto_t *balance = th_call_entity(ctx, locked[i], "balance", NULL);
        if (!balance)
            return TH_FAILED;
        sum += json_integer_value(balance);
    }
    return th_return_new(ctx, json_integer(sum));
}

TH_APPLICATION(app)
{
    static const struct th_method account[] = {
        {"deposit", deposit}, {"withdraw", withdraw}, {"balance", balance}, {NULL, NULL}};

    th_entity_methods(app, "account", account);
    th_orchestrator(app, "transfer", transfer);
    th_orchestrator(app, "audit", audit);
}

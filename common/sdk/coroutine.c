/*
 * A stack is one mapping: guard page, stack growing down, and at its top the struct th_coroutine
 * itself, so that a suspended coroutine of a shallow function costs one or two pages in all.
 *
 * The sanitizers must be told of every switch: AddressSanitizer, because it knows a thread's one
 * stack and keeps a fake one beside it; ThreadSanitizer, because it keeps a shadow call stack.
 */
#include "sdk/coroutine.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/memory.h"

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif
#ifdef WITH_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#if defined(__SANITIZE_THREAD__)
#define WITH_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WITH_TSAN 1
#endif
#endif
#ifdef WITH_TSAN
#include <sanitizer/tsan_interface.h>
#endif

#if defined(__x86_64__) && !defined(__CET__) && !defined(TH_COROUTINE_UCONTEXT)
#define OWN_SWITCH 1
#elif defined(__x86_64__) && defined(__CET__) && !(__CET__ & 2) && !defined(TH_COROUTINE_UCONTEXT)
#define OWN_SWITCH 1 /* without shadow stacks, to which a switch of our own would be an attack */
#else
#include <ucontext.h>
#endif

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102 /* Linux 6.13: a guard page that needs no mapping of its own */
#endif

/* Frames are larger under the sanitizers, and code must not have to care. */
#if defined(WITH_ASAN) || defined(WITH_TSAN)
#define FRAME_FACTOR 4
#else
#define FRAME_FACTOR 1
#endif

/* Of a stack whose coroutine ended, this much stays mapped in; the rest goes back. */
enum { KEPT_BYTES = 8192 };

struct th_coroutine {
    struct th_stacks *stacks;
    struct th_coroutine *next_free;
    char *low; /* lowest usable byte, above the guard */
    void (*function)(void *argument);
    void *argument;
    bool finished;
#ifdef OWN_SWITCH
    void *sp;        /* of the coroutine while it is suspended */
    void *caller_sp; /* of the resumer while it runs */
#else
    ucontext_t context;
    ucontext_t caller;
#endif
#ifdef WITH_ASAN
    void *fake_stack;
    const void *caller_low;
    size_t caller_size;
#endif
#ifdef WITH_TSAN
    void *fiber;
    void *caller_fiber;
#endif
};

struct th_stacks {
    size_t page;
    size_t size; /* of a mapping, guard included */
    size_t keep;
    size_t free_count;
    struct th_coroutine *free;
};

/* ---- the switch ----------------------------------------------------------------------------- */

static void coroutine_main(struct th_coroutine *c);

__attribute__((unused)) static size_t usable(const struct th_coroutine *c)
{
    return (size_t)((const char *)c - c->low);
}

#ifdef OWN_SWITCH
/* Saves what the x86-64 ABI calls callee-saved, floating-point modes included. */
__attribute__((naked, noinline, no_sanitize("address", "undefined", "thread"))) static void
switch_stack(void **save, void *load)
{
    __asm__("pushq %rbp\n\t"
            "pushq %rbx\n\t"
            "pushq %r12\n\t"
            "pushq %r13\n\t"
            "pushq %r14\n\t"
            "pushq %r15\n\t"
            "subq $8, %rsp\n\t"
            "stmxcsr (%rsp)\n\t"
            "fnstcw 4(%rsp)\n\t"
            "movq %rsp, (%rdi)\n\t"
            "movq %rsi, %rsp\n\t"
            "ldmxcsr (%rsp)\n\t"
            "fldcw 4(%rsp)\n\t"
            "addq $8, %rsp\n\t"
            "popq %r15\n\t"
            "popq %r14\n\t"
            "popq %r13\n\t"
            "popq %r12\n\t"
            "popq %rbx\n\t"
            "popq %rbp\n\t"
            "ret");
}

/* Where a new coroutine's first switch "returns" to: r12 and r13 were put on its stack. */
__attribute__((naked, noinline, no_sanitize("address", "undefined", "thread"))) static void
first_step(void)
{
    __asm__(".cfi_undefined rip\n\t" /* debuggers stop here */
            "movq %r12, %rdi\n\t"
            "callq *%r13\n\t"
            "ud2");
}

static void prepare(struct th_coroutine *c)
{
    uintptr_t top = (uintptr_t)c & ~(uintptr_t)15;
    uint64_t *sp = (uint64_t *)(top - 16);
    uint32_t modes[2] = {0, 0};
    __asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(modes[0]), "=m"(modes[1]));
    *--sp = (uint64_t)(uintptr_t)first_step;
    *--sp = 0;                                   /* rbp: the end of the frame chain */
    *--sp = 0;                                   /* rbx */
    *--sp = (uint64_t)(uintptr_t)c;              /* r12 */
    *--sp = (uint64_t)(uintptr_t)coroutine_main; /* r13 */
    *--sp = 0;                                   /* r14 */
    *--sp = 0;                                   /* r15 */
    *--sp = (uint64_t)modes[1] << 32 | modes[0];
    c->sp = sp;
}

static void switch_in(struct th_coroutine *c)
{
    switch_stack(&c->caller_sp, c->sp);
}

static void switch_out(struct th_coroutine *c)
{
    switch_stack(&c->sp, c->caller_sp);
}
#else
/* makecontext hands over ints, so the pointer travels in two. */
static void first_step(unsigned high, unsigned low)
{
    coroutine_main((struct th_coroutine *)((uintptr_t)high << 16 << 16 | low));
}

static void prepare(struct th_coroutine *c)
{
    uintptr_t self = (uintptr_t)c;
    if (getcontext(&c->context)) {
        abort(); /* fails on no system that has it */
    }
    c->context.uc_stack.ss_sp = c->low;
    c->context.uc_stack.ss_size = usable(c) & ~(size_t)15;
    c->context.uc_link = NULL;
    makecontext(&c->context, (void (*)(void))first_step, 2, (unsigned)(self >> 16 >> 16),
                (unsigned)(self & UINT32_MAX));
}

static void switch_in(struct th_coroutine *c)
{
    swapcontext(&c->caller, &c->context);
}

static void switch_out(struct th_coroutine *c)
{
    swapcontext(&c->context, &c->caller);
}
#endif

/* ---- what the sanitizers want to know ------------------------------------------------------- */

static void entered(struct th_coroutine *c)
{
#ifdef WITH_ASAN
    __sanitizer_finish_switch_fiber(c->fake_stack, &c->caller_low, &c->caller_size);
#else
    (void)c;
#endif
}

/* `for_good` lets AddressSanitizer free the fake stack. */
static void leave(struct th_coroutine *c, bool for_good)
{
#ifdef WITH_ASAN
    __sanitizer_start_switch_fiber(for_good ? NULL : &c->fake_stack, c->caller_low, c->caller_size);
#endif
#ifdef WITH_TSAN
    __tsan_switch_to_fiber(c->caller_fiber, 0);
#endif
    (void)for_good;
    switch_out(c);
}

static void coroutine_main(struct th_coroutine *c)
{
    entered(c);
    c->function(c->argument);
    c->finished = true;
    leave(c, true);
    abort(); /* a finished coroutine is never resumed */
}

bool th_coroutine_resume(struct th_coroutine *c)
{
#ifdef WITH_ASAN
    void *own_fake_stack = NULL;
    __sanitizer_start_switch_fiber(&own_fake_stack, c->low, usable(c));
#endif
#ifdef WITH_TSAN
    c->caller_fiber = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(c->fiber, 0);
#endif
    switch_in(c);
#ifdef WITH_ASAN
    __sanitizer_finish_switch_fiber(own_fake_stack, NULL, NULL);
#endif
    return !c->finished;
}

void th_coroutine_suspend(struct th_coroutine *c)
{
    leave(c, false);
    entered(c);
}

/* ---- stacks --------------------------------------------------------------------------------- */

struct th_stacks *th_stacks_new(size_t stack_bytes, size_t keep)
{
    struct th_stacks *s = TH_NEW(struct th_stacks);
    s->page = (size_t)sysconf(_SC_PAGESIZE);
    stack_bytes *= FRAME_FACTOR;
    s->size = ((stack_bytes + s->page - 1) & ~(s->page - 1)) + s->page;
    s->keep = keep;
    return s;
}

static void unmap(struct th_coroutine *c)
{
    struct th_stacks *s = c->stacks;
#ifdef WITH_TSAN
    __tsan_destroy_fiber(c->fiber);
#endif
    munmap(c->low - s->page, s->size);
}

void th_stacks_free(struct th_stacks *s)
{
    while (s && s->free) {
        struct th_coroutine *next = s->free->next_free;
        unmap(s->free);
        s->free = next;
    }
    free(s);
}

static struct th_coroutine *map(struct th_stacks *s)
{
    char *base = mmap(NULL, s->size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (base == MAP_FAILED) {
        return NULL;
    }
    /* A huge page would make every stack cost its full size. Fails only where there are none. */
    madvise(base, s->size, MADV_NOHUGEPAGE);
    if (madvise(base, s->page, MADV_GUARD_INSTALL) && mprotect(base, s->page, PROT_NONE)) {
        munmap(base, s->size);
        return NULL;
    }
    size_t own = (sizeof(struct th_coroutine) + 63) & ~(size_t)63;
    struct th_coroutine *c = (struct th_coroutine *)(base + s->size - own);
    c->stacks = s;
    c->low = base + s->page;
#ifdef WITH_TSAN
    c->fiber = __tsan_create_fiber(0);
#endif
    return c;
}

struct th_coroutine *th_coroutine_new(struct th_stacks *s, void (*function)(void *argument),
                                      void *argument)
{
    struct th_coroutine *c = s->free;
    if (c) {
        s->free = c->next_free;
        s->free_count--;
    } else if (!(c = map(s))) {
        return NULL;
    }
    c->function = function;
    c->argument = argument;
    c->finished = false;
#ifdef WITH_ASAN
    c->fake_stack = NULL;
#endif
    prepare(c);
    return c;
}

void th_coroutine_free(struct th_coroutine *c)
{
    if (!c) {
        return;
    }
    struct th_stacks *s = c->stacks;
#ifdef WITH_ASAN
    /* Frames of one that did not finish are still fenced off. */
    ASAN_UNPOISON_MEMORY_REGION(c->low, usable(c));
#endif
    if (s->free_count >= s->keep) {
        unmap(c);
        return;
    }
    if (s->size > s->page + KEPT_BYTES) {
        madvise(c->low, s->size - s->page - KEPT_BYTES, MADV_DONTNEED);
    }
    c->next_free = s->free;
    s->free = c;
    s->free_count++;
}

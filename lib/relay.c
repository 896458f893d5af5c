/*
 * relay.c - see relay.h
 *
 * A ring of slots under one mutex. The producer (our thread) owns the free slots, the consumer the
 * filled ones. The slot that the consumer is looking at stays filled until it asks for the next, so
 * the producer can never overwrite what is lent.
 */
#include "relay.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

struct slot {
    struct ems_span span;
    uint64_t origin; /* where the stage below stood when it had lent the span */
    uint8_t *copy;   /* for spans that cannot be kept */
    size_t copy_capacity;
    bool kept;
};

struct relay {
    struct ems_source base;
    pthread_mutex_t lock;
    pthread_cond_t filled, freed;
    struct slot slots[EMS_RELAY_DEPTH];
    size_t first, count; /* filled slots: first, first+1, ... */
    bool lending;        /* slots[first] is lent to the consumer */
    bool stop;           /* the consumer goes away */
    int verdict;         /* of the stage below; EMS_OK while it runs */
    struct ems_error verdict_error;
    enum { NOT_STARTED, RUNNING, JOINED, IN_PLACE } state;
    pthread_t thread;
};

/* Put a span into a slot, by reference or by copy. */
static int slot_fill(struct slot *slot, const struct ems_span *span, struct ems_error *err)
{
    slot->span = *span;
    slot->kept = ems_span_keep(span);
    if (slot->kept)
        return EMS_OK;
    if (slot->copy_capacity < span->size) {
        free(slot->copy);
        slot->copy = malloc(span->size);
        slot->copy_capacity = slot->copy != NULL ? span->size : 0;
        if (slot->copy == NULL)
            return ems_fail_memory(err);
    }
    memcpy(slot->copy, span->data, span->size);
    slot->span.data = slot->copy;
    return EMS_OK;
}

static void slot_clear(struct slot *slot)
{
    if (slot->kept)
        ems_span_drop(&slot->span);
    slot->kept = false;
}

static void *produce(void *argument)
{
    struct relay *r = argument;
    struct ems_error err = {0};
    struct ems_span span;
    bool stop = false;
    int rc = EMS_OK;

    while (!stop && rc == EMS_OK) {
        rc = ems_source_next(r->base.below, &span, &err);
        pthread_mutex_lock(&r->lock);
        while (rc == EMS_OK && r->count == EMS_RELAY_DEPTH && !r->stop)
            pthread_cond_wait(&r->freed, &r->lock);
        stop = r->stop;
        if (rc == EMS_OK && !stop) {
            struct slot *slot = &r->slots[(r->first + r->count) % EMS_RELAY_DEPTH];

            /* The slot is free and only we fill slots: no need to hold the lock while copying. */
            pthread_mutex_unlock(&r->lock);
            rc = slot_fill(slot, &span, &err);
            slot->origin = r->base.below->origin;
            pthread_mutex_lock(&r->lock);
            if (rc == EMS_OK && r->count++ == 0)
                pthread_cond_signal(&r->filled);
        }
        if (rc != EMS_OK) {
            r->verdict = rc;
            r->verdict_error = err;
            pthread_cond_signal(&r->filled);
        }
        pthread_mutex_unlock(&r->lock);
    }
    return NULL;
}

static void start(struct relay *r)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    r->state = pthread_create(&r->thread, NULL, produce, r) == 0 ? RUNNING : IN_PLACE;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void join(struct relay *r)
{
    if (r->state == RUNNING)
        pthread_join(r->thread, NULL);
    r->state = JOINED;
}

static int relay_next(struct ems_source *src, struct ems_span *span, struct ems_error *err)
{
    struct relay *r = (struct relay *)src;
    int rc = EMS_OK;

    if (r->state == NOT_STARTED)
        start(r);
    if (r->state == IN_PLACE) {
        rc = ems_source_next(src->below, span, err);
        src->origin = src->below->origin;
        return rc;
    }

    pthread_mutex_lock(&r->lock);
    if (r->lending) {
        slot_clear(&r->slots[r->first]);
        r->first = (r->first + 1) % EMS_RELAY_DEPTH;
        r->lending = false;
        /* A producer that found the ring full sleeps until half of it is free: waking it for every
         * slot would cost more than the work on a small span. */
        if (r->count-- == EMS_RELAY_DEPTH / 2 + 1)
            pthread_cond_signal(&r->freed);
    }
    while (r->count == 0 && r->verdict == EMS_OK)
        pthread_cond_wait(&r->filled, &r->lock);
    if (r->count > 0) {
        *span = r->slots[r->first].span;
        if (!r->slots[r->first].kept)
            span->block = NULL;
        r->lending = true;
        src->origin = r->slots[r->first].origin;
    } else {
        rc = r->verdict;
    }
    pthread_mutex_unlock(&r->lock);

    if (rc != EMS_OK) {
        join(r); /* so that the stage below can be looked at without the lock */
        src->origin = src->below->origin;
        if (rc != EMS_END)
            *err = r->verdict_error;
    }
    return rc;
}

static void relay_free(struct ems_source *src)
{
    struct relay *r = (struct relay *)src;

    pthread_mutex_lock(&r->lock);
    r->stop = true;
    pthread_cond_signal(&r->freed);
    pthread_mutex_unlock(&r->lock);
    join(r);
    for (size_t i = 0; i < r->count; i++)
        slot_clear(&r->slots[(r->first + i) % EMS_RELAY_DEPTH]);
    for (size_t i = 0; i < EMS_RELAY_DEPTH; i++)
        free(r->slots[i].copy);
    pthread_cond_destroy(&r->freed);
    pthread_cond_destroy(&r->filled);
    pthread_mutex_destroy(&r->lock);
}

static const struct ems_source_ops relay_ops = {"relay", relay_next, relay_free};

struct ems_source *ems_relay_open(struct ems_source *below, struct ems_error *err)
{
    struct relay *r;

    if (below == NULL)
        return NULL;
    r = ems_source_alloc(sizeof *r, &relay_ops, below, err);
    if (r == NULL)
        return NULL;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->filled, NULL);
    pthread_cond_init(&r->freed, NULL);
    return &r->base;
}

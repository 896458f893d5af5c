/* server_ahead.c - see server_ahead.h */
#include "server_ahead.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

struct ems_ahead {
    struct ems_staging_options options;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t change;
    bool opened; /* with this outcome: */
    struct ems_staging *staging;
    struct ems_error err;
    bool over; /* nobody needs the server any more */
};

/* Opens, and stays: the kernel stops an embedded server when the thread that started it ends. */
static void *keep(void *argument)
{
    struct ems_ahead *a = argument;
    struct ems_staging *staging = NULL;
    struct ems_error err = {0};

    ems_staging_open(&a->options, &staging, &err);
    pthread_mutex_lock(&a->lock);
    a->staging = staging;
    a->err = err;
    a->opened = true;
    pthread_cond_broadcast(&a->change);
    while (!a->over)
        pthread_cond_wait(&a->change, &a->lock);
    pthread_mutex_unlock(&a->lock);
    ems_staging_close(a->staging);
    return NULL;
}

struct ems_ahead *ems_ahead_begin(const struct ems_staging_options *options)
{
    struct ems_ahead *a = calloc(1, sizeof *a);
    sigset_t all, before;
    int failed;

    if (a == NULL)
        return NULL;
    a->options = *options;
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->change, NULL);
    sigfillset(&all); /* signals are for the threads that know what to do with them */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    failed = pthread_create(&a->thread, NULL, keep, a);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed == 0)
        return a;
    pthread_cond_destroy(&a->change);
    pthread_mutex_destroy(&a->lock);
    free(a);
    return NULL;
}

/* Once: the staging is the caller's from then on, who closes it before ems_ahead_free, while the
 * thread that its server hangs on is still there. */
int ems_ahead_take(struct ems_ahead *a, struct ems_staging **staging, struct ems_error *err)
{
    pthread_mutex_lock(&a->lock);
    while (!a->opened)
        pthread_cond_wait(&a->change, &a->lock);
    *staging = a->staging;
    a->staging = NULL;
    pthread_mutex_unlock(&a->lock);
    if (*staging == NULL && err != NULL)
        *err = a->err;
    return a->err.code;
}

void ems_ahead_free(struct ems_ahead *a)
{
    if (a == NULL)
        return;
    pthread_mutex_lock(&a->lock);
    a->over = true;
    pthread_cond_broadcast(&a->change);
    pthread_mutex_unlock(&a->lock);
    pthread_join(a->thread, NULL);
    pthread_cond_destroy(&a->change);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

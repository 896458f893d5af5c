/*
 * replay.c - runs a fuzz target without a fuzzer: over files, and over mutations of them.
 *
 *     fuzz_NAME [-mutate N] FILE|DIRECTORY...   each file, then N mutations of it; counts them
 *     fuzz_NAME -dump K FILE                    the K-th mutation (from 1) of FILE to stdout
 *
 * Mutations depend on the file's bytes and K only, so that what failed once fails again. A run that
 * takes longer than LIMIT_S seconds has failed. Under libFuzzer, which has a main of its own, there
 * is nothing in here.
 */
#include "fuzz.h"

#ifndef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIMIT_S  60u
#define MAX_GROW 512u /* bytes that one mutation may add */

void __sanitizer_set_death_callback(void (*)(void)) __attribute__((weak));

static unsigned long runs;
static unsigned long mutations; /* of each file */
static char current[4200];      /* what is running, for the report of a death */

/* ---- when the target dies ---- */

static void report_current(void)
{
    static const char text[] = "\nfailed on: ";

    if (write(STDERR_FILENO, text, sizeof text - 1) < 0 ||
        write(STDERR_FILENO, current, strlen(current)) < 0 || write(STDERR_FILENO, "\n", 1) < 0)
        return;
}

static void die(int signal_number)
{
    report_current();
    signal(signal_number == SIGALRM ? SIGABRT : signal_number, SIG_DFL);
    raise(signal_number == SIGALRM ? SIGABRT : signal_number);
}

/* A sanitizer reports crashes itself, and better; abort and the clock are ours in any case. */
static void watch(void)
{
    static const int fatal[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};

    signal(SIGALRM, die);
    signal(SIGABRT, die);
    if (__sanitizer_set_death_callback != NULL) {
        __sanitizer_set_death_callback(report_current);
        return;
    }
    for (size_t i = 0; i < sizeof fatal / sizeof fatal[0]; i++)
        signal(fatal[i], die);
}

/* ---- inputs ---- */

struct input {
    uint8_t *data;
    size_t size;
};

static void *allocate(size_t size)
{
    void *p = malloc(size > 0 ? size : 1);

    if (p == NULL) {
        fprintf(stderr, "out of memory\n");
        exit(75);
    }
    return p;
}

static struct input read_file(const char *path)
{
    struct input in = {0};
    FILE *f = fopen(path, "rb");
    struct stat st;

    if (f == NULL || fstat(fileno(f), &st) != 0) {
        fprintf(stderr, "cannot read %s: %s\n", path, strerror(errno));
        exit(75);
    }
    in.data = allocate((size_t)st.st_size);
    in.size = fread(in.data, 1, (size_t)st.st_size, f);
    fclose(f);
    return in;
}

/* The input in memory of its exact size, so that a sanitizer sees any step beyond it. */
static void run(const struct input *in)
{
    uint8_t *copy = allocate(in->size);

    memcpy(copy, in->data, in->size);
    alarm(LIMIT_S);
    LLVMFuzzerTestOneInput(copy, in->size);
    alarm(0);
    free(copy);
    runs++;
}

/* ---- mutations ---- */

/* splitmix64: any seed is a good one. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static size_t below(uint64_t *state, size_t limit)
{
    return limit == 0 ? 0 : (size_t)(next_random(state) % limit);
}

/* Change m (which has room for MAX_GROW more bytes) once. */
static void mutate_once(struct input *m, uint64_t *state)
{
    static const uint8_t edges[] = {0, 1, 0x7f, 0x80, 0xff, '\n', '\\', '\''};
    size_t at = below(state, m->size), rest = m->size - at, n = 1 + below(state, 32);
    size_t from;

    switch (below(state, 7)) {
    case 0: /* flip a bit */
        if (m->size > 0)
            m->data[at] ^= (uint8_t)(1u << below(state, 8));
        break;
    case 1: /* another byte */
        if (m->size > 0)
            m->data[at] = (uint8_t)next_random(state);
        break;
    case 2: /* a byte at some edge */
        if (m->size > 0)
            m->data[at] = edges[below(state, sizeof edges)];
        break;
    case 3: /* cut */
        m->size = at;
        break;
    case 4: /* insert */
        memmove(m->data + at + n, m->data + at, rest);
        for (size_t i = 0; i < n; i++)
            m->data[at + i] = (uint8_t)next_random(state);
        m->size += n;
        break;
    case 5: /* remove */
        if (n > rest)
            n = rest;
        memmove(m->data + at, m->data + at + n, rest - n);
        m->size -= n;
        break;
    default: /* copy a piece over another */
        from = below(state, m->size);
        if (n > rest)
            n = rest;
        if (n > m->size - from)
            n = m->size - from;
        memmove(m->data + at, m->data + from, n);
        break;
    }
}

/* The k-th mutation of in: 1 to 8 changes. Free its data. */
static struct input mutation(const struct input *in, uint64_t k)
{
    struct input m = {allocate(in->size + MAX_GROW), in->size};
    uint64_t state = k << 32;

    memcpy(m.data, in->data, in->size);
    for (size_t i = 0; i < in->size; i++) /* FNV-1a */
        state = (state ^ in->data[i]) * 0x100000001b3u;
    for (size_t n = 1 + below(&state, 8); n > 0; n--)
        mutate_once(&m, &state);
    return m;
}

/* ---- files and directories ---- */

static void replay_file(const char *path)
{
    struct input in = read_file(path);

    snprintf(current, sizeof current, "%s", path);
    run(&in);
    for (unsigned long k = 1; k <= mutations; k++) {
        struct input m = mutation(&in, k);

        snprintf(current, sizeof current, "-dump %lu %s", k, path);
        run(&m);
        free(m.data);
    }
    free(in.data);
}

static void replay(const char *path)
{
    struct dirent **entries;
    struct stat st;
    int count;

    if (stat(path, &st) == 0 && !S_ISDIR(st.st_mode)) {
        replay_file(path);
        return;
    }
    count = scandir(path, &entries, NULL, alphasort);
    if (count < 0) {
        fprintf(stderr, "cannot read %s: %s\n", path, strerror(errno));
        exit(75);
    }
    for (int i = 0; i < count; i++) {
        char below_path[4096];

        snprintf(below_path, sizeof below_path, "%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.')
            replay(below_path);
        free(entries[i]);
    }
    free(entries);
}

static int dump(unsigned long k, const char *path)
{
    struct input in = read_file(path), m = mutation(&in, k);
    size_t n = fwrite(m.data, 1, m.size, stdout);

    free(in.data);
    free(m.data);
    return n == m.size && fflush(stdout) == 0 ? 0 : 75;
}

int main(int argc, char **argv)
{
    const char *slash = strrchr(argv[0], '/');
    int i = 1;

    if (argc == 4 && strcmp(argv[1], "-dump") == 0)
        return dump(strtoul(argv[2], NULL, 10), argv[3]);
    if (argc > 2 && strcmp(argv[1], "-mutate") == 0) {
        mutations = strtoul(argv[2], NULL, 10);
        i = 3;
    }
    if (LLVMFuzzerInitialize != NULL)
        LLVMFuzzerInitialize(&argc, &argv);
    watch();
    for (; i < argc; i++)
        replay(argv[i]);
    if (runs == 0) {
        fprintf(stderr, "usage: %s [-mutate N] FILE|DIRECTORY...\n", argv[0]);
        return 2;
    }
    printf("%s: %lu passed, 0 failed\n", slash != NULL ? slash + 1 : argv[0], runs);
    return 0;
}

#endif

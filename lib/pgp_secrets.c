/*
 * pgp_secrets.c - see pgp.h and pgp_secrets.h
 *
 * Every struct that holds a secret is allocated in libgcrypt's secure memory, whose free wipes.
 */
#include "pgp_secrets.h"

#include "bytes.h"

#include <errno.h>
#include <gcrypt.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GCRYPT_NEEDED "1.10.0"     /* Argon2 */
#define SECURE_POOL   (64 * 1024)  /* what an unprivileged process may lock nearly everywhere */
#define SECURE_EXPAND (128 * 1024) /* more for large RSA keys: not locked, but wiped */
#define DERIVED_MAX   256u         /* keys remembered */

/* ---- the library ---- */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool initialised;

static void initialise(void)
{
    if (gcry_check_version(GCRYPT_NEEDED) == NULL)
        return;
    initialised = true;
    if (gcry_control(GCRYCTL_INITIALIZATION_FINISHED_P))
        return; /* by our host program, with the memory it wanted */
    /* A pool that cannot be locked is still kept apart and wiped; no warning on stderr for that. */
    gcry_control(GCRYCTL_DISABLE_SECMEM_WARN);
    gcry_control(GCRYCTL_INIT_SECMEM, SECURE_POOL, 0);
    gcry_control(GCRYCTL_AUTO_EXPAND_SECMEM, SECURE_EXPAND, 0);
    gcry_control(GCRYCTL_INITIALIZATION_FINISHED, 0);
}

int ems_pgp_library_init(struct ems_error *err)
{
    pthread_once(&once, initialise);
    if (!initialised)
        return ems_fail(err, EMS_INTERNAL, "libgcrypt %s is too old: %s is needed",
                        gcry_check_version(NULL), GCRYPT_NEEDED);
    return EMS_OK;
}

/* ---- secrets ---- */

struct passphrase {
    struct passphrase *next;
    size_t size;
    char bytes[];
};

/* A key and what it was derived from. */
struct derived {
    struct derived *next;
    size_t index; /* of the passphrase */
    uint8_t spec[EMS_PGP_S2K_MAX];
    size_t spec_size, key_size;
    uint8_t key[EMS_PGP_KEY_MAX];
};

struct ems_pgp_secrets {
    pthread_mutex_t lock; /* several chains may use them at the same time */
    ems_pgp_ask_fn *ask;
    void *context;
    struct ems_error ask_error; /* what asking ended with */
    struct passphrase *passphrases;
    struct derived *derived;
    size_t derived_count;
};

struct ems_pgp_secrets *ems_pgp_secrets_new(ems_pgp_ask_fn *ask, void *context,
                                            struct ems_error *err)
{
    struct ems_pgp_secrets *s = calloc(1, sizeof *s);

    if (s == NULL) {
        ems_fail_memory(err);
        return NULL;
    }
    pthread_mutex_init(&s->lock, NULL);
    s->ask = ask;
    s->context = context;
    return s;
}

void ems_pgp_secrets_free(struct ems_pgp_secrets *s)
{
    if (s == NULL)
        return;
    while (s->passphrases != NULL) {
        struct passphrase *p = s->passphrases;

        s->passphrases = p->next;
        gcry_free(p);
    }
    while (s->derived != NULL) {
        struct derived *d = s->derived;

        s->derived = d->next;
        gcry_free(d);
    }
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* With the lock held. */
static int add_passphrase(struct ems_pgp_secrets *s, const void *bytes, size_t size,
                          struct ems_error *err)
{
    struct passphrase *p, **last = &s->passphrases;

    if (size == 0)
        return ems_fail(err, EMS_PGP_PASSPHRASE, "the passphrase is empty");
    if (size > EMS_PGP_PASSPHRASE_MAX)
        return ems_fail(err, EMS_PGP_PASSPHRASE, "the passphrase is longer than %u bytes",
                        EMS_PGP_PASSPHRASE_MAX);
    p = gcry_malloc_secure(sizeof *p + size);
    if (p == NULL)
        return ems_fail_memory(err);
    p->next = NULL;
    p->size = size;
    memcpy(p->bytes, bytes, size);
    while (*last != NULL)
        last = &(*last)->next;
    *last = p;
    return EMS_OK;
}

int ems_pgp_secrets_add_passphrase(struct ems_pgp_secrets *s, const void *bytes, size_t size,
                                   struct ems_error *err)
{
    int rc;

    pthread_mutex_lock(&s->lock);
    rc = add_passphrase(s, bytes, size, err);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

int ems_pgp_secrets_read_passphrase(struct ems_pgp_secrets *s, int fd, const char *name,
                                    struct ems_error *err)
{
    char *line = gcry_malloc_secure(EMS_PGP_PASSPHRASE_MAX + 2);
    size_t size = 0;
    ssize_t n;
    int rc;

    if (line == NULL)
        return ems_fail_memory(err);
    /* Byte by byte, so that what follows the line stays in the descriptor for others. */
    for (;;) {
        n = read(fd, line + size, 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0 || line[size] == '\n' || ++size == EMS_PGP_PASSPHRASE_MAX + 2)
            break;
    }
    if (n > 0 && size > 0 && size < EMS_PGP_PASSPHRASE_MAX + 2 && line[size - 1] == '\r')
        size--;
    if (n < 0)
        rc = ems_fail_errno(err, errno, "cannot read the passphrase from %s", name);
    else if (size == 0)
        rc = ems_fail(err, EMS_PGP_PASSPHRASE, "the passphrase in %s is empty", name);
    else
        rc = ems_pgp_secrets_add_passphrase(s, line, size, err);
    gcry_free(line);
    return rc;
}

/* With the lock held. */
static int ask(struct ems_pgp_secrets *s)
{
    char *buffer;
    size_t size = 0;
    int rc;

    if (s->ask == NULL)
        return ems_fail(&s->ask_error, EMS_PGP_PASSPHRASE,
                        "a passphrase is needed, and none was given");
    buffer = gcry_malloc_secure(EMS_PGP_PASSPHRASE_MAX);
    if (buffer == NULL)
        return ems_fail_memory(&s->ask_error);
    rc = s->ask(s->context, buffer, EMS_PGP_PASSPHRASE_MAX, &size, &s->ask_error);
    if (rc == EMS_OK)
        rc = add_passphrase(s, buffer, size, &s->ask_error);
    else
        ems_fail(&s->ask_error, rc, "no passphrase was given");
    gcry_free(buffer);
    return rc;
}

int ems_pgp_secrets_passphrases(struct ems_pgp_secrets *s, size_t *count, struct ems_error *err)
{
    int rc = EMS_OK;

    *count = 0;
    pthread_mutex_lock(&s->lock);
    if (s->passphrases == NULL) {
        if (s->ask_error.code == EMS_OK)
            ask(s);
        rc = s->ask_error.code;
        if (rc != EMS_OK)
            ems_fail(err, rc, "%s", s->ask_error.text);
    }
    for (struct passphrase *p = s->passphrases; p != NULL; p = p->next)
        ++*count;
    pthread_mutex_unlock(&s->lock);
    return rc;
}

/* ---- derivations ---- */

static struct derived *find_derived(struct ems_pgp_secrets *s, size_t index,
                                    const struct ems_pgp_s2k *s2k, size_t key_size)
{
    for (struct derived *d = s->derived; d != NULL; d = d->next)
        if (d->index == index && d->key_size == key_size && d->spec_size == s2k->raw_size &&
            memcmp(d->spec, s2k->raw, s2k->raw_size) == 0)
            return d;
    return NULL;
}

/* With the lock held: whoever needs the same key at the same time waits for it. */
static int derive(struct ems_pgp_secrets *s, size_t index, const struct ems_pgp_s2k *s2k,
                  struct ems_pgp_cost *spent, uint8_t *key, size_t key_size, struct ems_error *err)
{
    struct passphrase *p = s->passphrases;
    struct ems_pgp_cost cost;
    struct derived *d;
    int rc;

    for (size_t i = 0; p != NULL && i < index; i++)
        p = p->next;
    if (p == NULL || key_size > EMS_PGP_KEY_MAX)
        return ems_fail(err, EMS_INTERNAL, "no passphrase %zu", index);
    cost = ems_pgp_s2k_cost(s2k, p->size, key_size);
    spent->octets += cost.octets;
    spent->argon2_kib += cost.argon2_kib;
    if (spent->octets > EMS_PGP_COST_OCTETS || spent->argon2_kib > EMS_PGP_COST_ARGON2_KIB)
        return ems_fail(err, EMS_PGP_LIMIT,
                        "deriving keys from the passphrase would take too much time or memory");
    rc = ems_pgp_s2k_derive(s2k, p->bytes, p->size, key, key_size, err);
    if (rc != EMS_OK || s->derived_count == DERIVED_MAX)
        return rc;
    d = gcry_calloc_secure(1, sizeof *d);
    if (d == NULL)
        return EMS_OK; /* not remembered, that is all */
    d->index = index;
    memcpy(d->spec, s2k->raw, s2k->raw_size);
    d->spec_size = s2k->raw_size;
    memcpy(d->key, key, key_size);
    d->key_size = key_size;
    d->next = s->derived;
    s->derived = d;
    s->derived_count++;
    return EMS_OK;
}

int ems_pgp_secrets_derive(struct ems_pgp_secrets *s, size_t index, const struct ems_pgp_s2k *s2k,
                           struct ems_pgp_cost *spent, uint8_t *key, size_t key_size,
                           struct ems_error *err)
{
    struct derived *known;
    int rc = EMS_OK;

    pthread_mutex_lock(&s->lock);
    known = find_derived(s, index, s2k, key_size);
    if (known != NULL)
        memcpy(key, known->key, key_size);
    else
        rc = derive(s, index, s2k, spent, key, key_size, err);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

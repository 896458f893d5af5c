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

#define GCRYPT_NEEDED "1.10.0"      /* Argon2 */
#define SECURE_POOL   (64 * 1024)   /* what an unprivileged process may lock nearly everywhere */
#define SECURE_EXPAND (4096 * 1024) /* more, for the largest key file: not locked, but wiped */
#define DERIVED_MAX   256u          /* keys remembered */

/* ---- the library ---- */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool initialised;
static _Thread_local bool all_secure;

void ems_pgp_all_secure(bool on)
{
    all_secure = on;
}

/* libgcrypt's allocator for what it does not call secret. Its free and realloc look at the address,
 * so they need no counterpart here. */
static void *allocate(size_t size)
{
    return all_secure ? gcry_malloc_secure(size) : malloc(size);
}

/*
 * The order is libgcrypt's: the version first, then the pool, then
 * "finished". A pool of 64 KiB can be locked nearly everywhere (in containers the limit is often
 * just that); key files are larger, so it may grow, unlocked but still wiped and never in a core
 * file.
 */
static void initialise(void)
{
    if (gcry_check_version(GCRYPT_NEEDED) == NULL)
        return;
    initialised = true;
    if (gcry_control(GCRYCTL_INITIALIZATION_FINISHED_P))
        return; /* by our host program, with the memory it wanted */
    gcry_set_allocation_handler(allocate, NULL, NULL, NULL, NULL);
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
    bool for_keys;
    size_t size;
    char bytes[];
};

/* A key and what it was derived from. */
struct derived {
    struct derived *next;
    const struct passphrase *passphrase;
    uint8_t spec[EMS_PGP_S2K_MAX];
    size_t spec_size, key_size;
    uint8_t key[EMS_PGP_KEY_MAX];
};

struct ems_pgp_secrets {
    pthread_mutex_t lock; /* several chains may use them at the same time */
    ems_pgp_ask_fn *ask;
    void *context;
    struct ems_error ask_error; /* what asking ended with */
    ems_pgp_ask_key_fn *ask_key;
    void *ask_key_context;
    bool asked_key;
    struct passphrase *passphrases;
    struct ems_pgp_key *keys;
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

/* gcry_free wipes what is in secure memory. Keys and derivations point at passphrases only to
 * compare the address, so the order does not matter. */
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
    ems_pgp_keys_free(s->keys);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* With the lock held. */
static int add_passphrase(struct ems_pgp_secrets *s, bool for_keys, const void *bytes, size_t size,
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
    p->for_keys = for_keys;
    p->size = size;
    memcpy(p->bytes, bytes, size);
    while (*last != NULL)
        last = &(*last)->next;
    *last = p;
    return EMS_OK;
}

/* Added at the end: the order in which they were given is the order in which they are tried. */
static int add_locked(struct ems_pgp_secrets *s, bool for_keys, const void *bytes, size_t size,
                      struct ems_error *err)
{
    int rc;

    pthread_mutex_lock(&s->lock);
    rc = add_passphrase(s, for_keys, bytes, size, err);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

int ems_pgp_secrets_add_passphrase(struct ems_pgp_secrets *s, const void *bytes, size_t size,
                                   struct ems_error *err)
{
    return add_locked(s, false, bytes, size, err);
}

int ems_pgp_secrets_add_key_passphrase(struct ems_pgp_secrets *s, const void *bytes, size_t size,
                                       struct ems_error *err)
{
    return add_locked(s, true, bytes, size, err);
}

/*
 * A file, a pipe or an inherited descriptor. One line end is taken off, LF or CR LF (a file from
 * Windows), and nothing else: blanks and non-ASCII octets belong to the passphrase, which OpenPGP
 * takes as octets.
 */
static int read_passphrase(struct ems_pgp_secrets *s, bool for_keys, int fd, const char *name,
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
        rc = add_locked(s, for_keys, line, size, err);
    gcry_free(line);
    return rc;
}

int ems_pgp_secrets_read_passphrase(struct ems_pgp_secrets *s, int fd, const char *name,
                                    struct ems_error *err)
{
    return read_passphrase(s, false, fd, name, err);
}

int ems_pgp_secrets_read_key_passphrase(struct ems_pgp_secrets *s, int fd, const char *name,
                                        struct ems_error *err)
{
    return read_passphrase(s, true, fd, name, err);
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
        rc = add_passphrase(s, false, buffer, size, &s->ask_error);
    else
        ems_fail(&s->ask_error, rc, "no passphrase was given");
    gcry_free(buffer);
    return rc;
}

/* With the lock held: the passphrase number `index` of a kind. */
static struct passphrase *find_passphrase(struct ems_pgp_secrets *s, bool for_keys, size_t index)
{
    struct passphrase *p = s->passphrases;

    for (; p != NULL; p = p->next)
        if (p->for_keys == for_keys && index-- == 0)
            break;
    return p;
}

/* Asked once, and the answer kept, also the answer "none": a person at a terminal shall not be
 * asked again for the second pass, or by a second chain. */
int ems_pgp_secrets_passphrases(struct ems_pgp_secrets *s, size_t *count, struct ems_error *err)
{
    int rc = EMS_OK;

    *count = 0;
    pthread_mutex_lock(&s->lock);
    if (find_passphrase(s, false, 0) == NULL) {
        if (s->ask_error.code == EMS_OK)
            ask(s);
        rc = s->ask_error.code;
        if (rc != EMS_OK)
            ems_fail(err, rc, "%s", s->ask_error.text);
    }
    while (find_passphrase(s, false, *count) != NULL)
        ++*count;
    pthread_mutex_unlock(&s->lock);
    return rc;
}

/* ---- derivations ---- */

/* The specifier as it came identifies a derivation: type, hash, salt, count. So the second pass
 * over a message costs nothing. */
static struct derived *find_derived(struct ems_pgp_secrets *s, const struct passphrase *p,
                                    const struct ems_pgp_s2k *s2k, size_t key_size)
{
    for (struct derived *d = s->derived; d != NULL; d = d->next)
        if (d->passphrase == p && d->key_size == key_size && d->spec_size == s2k->raw_size &&
            memcmp(d->spec, s2k->raw, s2k->raw_size) == 0)
            return d;
    return NULL;
}

/* With the lock held: whoever needs the same key at the same time waits for it. */
static int derive(struct ems_pgp_secrets *s, const struct passphrase *p,
                  const struct ems_pgp_s2k *s2k, uint64_t *spent, uint8_t *key, size_t key_size,
                  struct ems_error *err)
{
    struct derived *d = find_derived(s, p, s2k, key_size);
    uint64_t cost;
    int rc;

    if (d != NULL) {
        memcpy(key, d->key, key_size);
        return EMS_OK;
    }
    cost = ems_pgp_s2k_cost(s2k, p->size, key_size);
    if (cost > EMS_PGP_COST_MAX || *spent > EMS_PGP_COST_MAX - cost)
        return ems_fail(err, EMS_PGP_LIMIT,
                        "deriving keys from the passphrase would take too much time or memory");
    *spent += cost;
    rc = ems_pgp_s2k_derive(s2k, p->bytes, p->size, key, key_size, err);
    if (rc != EMS_OK || s->derived_count == DERIVED_MAX)
        return rc;
    d = gcry_calloc_secure(1, sizeof *d);
    if (d == NULL)
        return EMS_OK; /* not remembered, that is all */
    d->passphrase = p;
    memcpy(d->spec, s2k->raw, s2k->raw_size);
    d->spec_size = s2k->raw_size;
    memcpy(d->key, key, key_size);
    d->key_size = key_size;
    d->next = s->derived;
    s->derived = d;
    s->derived_count++;
    return EMS_OK;
}

/* The lock is held while deriving: who needs the same key at the same time waits for it instead of
 * spending the same second again, and what Argon2 takes is taken once. */
int ems_pgp_secrets_derive(struct ems_pgp_secrets *s, size_t index, const struct ems_pgp_s2k *s2k,
                           uint64_t *spent, uint8_t *key, size_t key_size, struct ems_error *err)
{
    const struct passphrase *p;
    int rc;

    pthread_mutex_lock(&s->lock);
    p = find_passphrase(s, false, index);
    if (p == NULL || key_size > EMS_PGP_KEY_MAX)
        rc = ems_fail(err, EMS_INTERNAL, "no passphrase %zu", index);
    else
        rc = derive(s, p, s2k, spent, key, key_size, err);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

/* ---- keys ---- */

void ems_pgp_secrets_set_ask_key(struct ems_pgp_secrets *s, ems_pgp_ask_key_fn *ask_key,
                                 void *context)
{
    s->ask_key = ask_key;
    s->ask_key_context = context;
}

struct ems_pgp_key *ems_pgp_secrets_keys(struct ems_pgp_secrets *s)
{
    return s->keys;
}

/* A file of public keys is a common mistake (--export for --export-secret-keys), so it gets a text
 * of its own. */
int ems_pgp_secrets_read_key(struct ems_pgp_secrets *s, int fd, const char *name,
                             struct ems_error *err)
{
    struct ems_pgp_key *list = NULL, **last = &s->keys;
    bool usable = false;
    int rc = ems_pgp_keys_read(fd, name, &list, err);

    for (struct ems_pgp_key *k = list; k != NULL; k = k->next)
        usable |= k->is_secret;
    if (rc == EMS_OK && !usable)
        rc = ems_fail(err, EMS_PGP_NO_KEY, "%s holds no secret key that can decrypt%s", name,
                      list != NULL ? ", only public ones" : "");
    if (rc != EMS_OK) {
        ems_pgp_keys_free(list);
        return rc;
    }
    pthread_mutex_lock(&s->lock);
    while (*last != NULL)
        last = &(*last)->next;
    *last = list;
    pthread_mutex_unlock(&s->lock);
    return EMS_OK;
}

/* With the lock held: try one passphrase. */
static int open_with(struct ems_pgp_secrets *s, struct ems_pgp_key *key, const struct passphrase *p,
                     struct ems_error *err)
{
    uint64_t spent = 0; /* the operator's own key: each derivation counts alone */
    uint8_t *kek = gcry_calloc_secure(1, EMS_PGP_KEY_MAX);
    int rc;

    if (kek == NULL)
        return ems_fail_memory(err);
    rc = derive(s, p, &key->s2k, &spent, kek, ems_pgp_key_kek_size(key), err);
    if (rc == EMS_OK)
        rc = ems_pgp_key_open(key, kek, err);
    gcry_free(kek);
    return rc;
}

/* With the lock held. */
static int ask_key(struct ems_pgp_secrets *s, struct ems_pgp_key *key, const char *id,
                   struct ems_error *err)
{
    char *buffer = gcry_malloc_secure(EMS_PGP_PASSPHRASE_MAX);
    size_t size = 0, count = 0;
    int rc;

    if (buffer == NULL)
        return ems_fail_memory(err);
    s->asked_key = true;
    rc = s->ask_key(s->ask_key_context, id, buffer, EMS_PGP_PASSPHRASE_MAX, &size, err);
    if (rc == EMS_OK)
        rc = add_passphrase(s, true, buffer, size, err);
    gcry_free(buffer);
    if (rc != EMS_OK)
        return rc;
    while (find_passphrase(s, true, count + 1) != NULL)
        count++;
    return open_with(s, key, find_passphrase(s, true, count), err);
}

/* With the lock held: everything that is known, then asking. EMS_PGP_PASSPHRASE without a text of
 * its own when nothing opened it. Passphrases are only ever added, and a message may ask for the
 * same locked keys 64 times: what has failed is not tried again. */
static int unlock(struct ems_pgp_secrets *s, struct ems_pgp_key *key, const char *id,
                  struct ems_error *err)
{
    size_t known = 0;
    int rc = EMS_PGP_PASSPHRASE;

    if (key->usage == 0)
        return ems_pgp_key_open(key, NULL, err);
    for (const struct passphrase *p = s->passphrases; p != NULL; p = p->next)
        known++;
    for (int kind = 1; kind >= 0 && key->refused < known; kind--) {
        const struct passphrase *p;

        for (size_t i = 0; (p = find_passphrase(s, kind, i)) != NULL; i++) {
            rc = open_with(s, key, p, err);
            if (rc != EMS_PGP_PASSPHRASE)
                return rc;
        }
    }
    key->refused = known;
    if (s->ask_key != NULL && !s->asked_key)
        rc = ask_key(s, key, id, err);
    return rc;
}

int ems_pgp_secrets_open_key(struct ems_pgp_secrets *s, struct ems_pgp_key *key,
                             struct ems_error *err)
{
    char id[17];
    int rc = EMS_OK;

    ems_pgp_key_id_text(key->id, id);
    pthread_mutex_lock(&s->lock);
    switch (key->state) {
    case EMS_PGP_KEY_OPEN:
        break;
    case EMS_PGP_KEY_LOCKED:
        rc = unlock(s, key, id, err);
        if (rc == EMS_PGP_PASSPHRASE)
            ems_fail(err, rc, "%s for the secret key %s",
                     find_passphrase(s, true, 0) != NULL || s->passphrases != NULL
                         ? "wrong passphrase"
                         : "no passphrase was given",
                     id);
        break;
    case EMS_PGP_KEY_CARD:
        rc = ems_fail(err, EMS_PGP_NO_KEY, "the secret key %s is on a smartcard: decrypt with gpg",
                      id);
        break;
    case EMS_PGP_KEY_UNUSABLE:
        rc = ems_fail(err, EMS_PGP_UNSUPPORTED, "the secret key %s: %s", id, key->why);
        break;
    default:
        rc = ems_fail(err, EMS_PGP_NO_KEY, "the secret part of key %s is not in the key file", id);
        break;
    }
    pthread_mutex_unlock(&s->lock);
    return rc;
}

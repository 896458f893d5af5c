/*
 * server_settings.c - see server_settings.h
 *
 * What each setting does: PostgreSQL documentation, chapter 20, and 14.4 "Populating a Database".
 */
#include "server_settings.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

__attribute__((format(printf, 2, 3))) static void set(struct ems_settings *s, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(s->text[s->count++], EMS_SETTING_SIZE, fmt, args);
    va_end(args);
}

static unsigned long clamp(unsigned long value, unsigned long low, unsigned long high)
{
    return value < low ? low : value > high ? high : value;
}

void ems_settings_choose(struct ems_settings *s, unsigned jobs)
{
    unsigned long cpus = clamp((unsigned long)sysconf(_SC_NPROCESSORS_ONLN), 1, 64);
    unsigned long memory_mb =
        (unsigned long)sysconf(_SC_PHYS_PAGES) / 1024 * (unsigned long)sysconf(_SC_PAGESIZE) / 1024;

    set(s, "wal_level=minimal");
    set(s, "max_wal_senders=0");
    set(s, "fsync=off");
    set(s, "full_page_writes=off");
    set(s, "synchronous_commit=off");
    set(s, "wal_init_zero=off");
    set(s, "max_wal_size=16GB");
    set(s, "checkpoint_timeout=1d");
    set(s, "autovacuum=off");
    set(s, "bgwriter_lru_maxpages=0");
    set(s, "jit=off");
    /* COPY and index builds go through rings of a few megabytes: more is only memory to be touched
     * first, which cost a fourteenth of a restore's time in processor where 1 GB was tried. */
    set(s, "shared_buffers=%luMB", clamp(memory_mb / 8, 32, 128));
    set(s, "maintenance_work_mem=%luMB", clamp(memory_mb / 8 / jobs, 64, 1024));
    set(s, "max_parallel_maintenance_workers=%lu", clamp(cpus - 1, 1, 4));
    set(s, "max_parallel_workers=%lu", cpus);
    set(s, "max_worker_processes=%lu", cpus + 4);
    set(s, "max_connections=%u", jobs + 20);
    set(s, "max_locks_per_transaction=256"); /* a whole schema in one transaction */
    set(s, "log_min_error_statement=panic"); /* no customers' rows in the log */
}

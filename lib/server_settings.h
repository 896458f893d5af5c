/*
 * server_settings.h - how the embedded server is set for a restore.
 *
 * Part of libems-server.
 */
#ifndef EMS_SERVER_SETTINGS_H
#define EMS_SERVER_SETTINGS_H

#include <stddef.h>

enum { EMS_SETTING_SIZE = 56, EMS_SETTINGS_MAX = 32 };

/* "name=value", each for a -c on the command line of postgres. */
struct ems_settings {
    char text[EMS_SETTINGS_MAX][EMS_SETTING_SIZE];
    size_t count;
};

/*
 * For `jobs` (at least 1) connections that load and index at a time, on this machine's processors
 * and memory. For a server that holds nothing of value until the restore is proven, and never more
 * than a copy: no syncing, hardly any log (with wal_level minimal, rows that are copied into a
 * table of the same transaction are not logged at all), and nothing that works in the background.
 * A start by hand, without these, is an ordinary server.
 */
void ems_settings_choose(struct ems_settings *, unsigned jobs);

#endif

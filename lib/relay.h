/*
 * relay.h - a stage that runs everything below it on a thread of its own.
 *
 * The bytes, EMS_END and errors come out unchanged and in order; only the time changes. Spans whose
 * memory can be kept (struct ems_block) cross without being copied, others are copied once.
 *
 * The thread starts with the first pull, blocks all signals, and is joined by the free of the chain
 * or after the end. It runs at most `depth` spans ahead. If no thread can be made, the relay pulls
 * in place: same result.
 */
#ifndef EMS_RELAY_H
#define EMS_RELAY_H

#include "source.h"

#define EMS_RELAY_DEPTH 8u

struct ems_source *ems_relay_open(struct ems_source *below, struct ems_error *);

#endif

/* pgp_text.c - see pgp_text.h */
#include "pgp_text.h"

#include <stdlib.h>

/*
 * RFC 9580, section 5.9: text lines end in CR LF on the way and shall get the receiver's own line
 * ends. One that was made on Unix is given back as it was; one from Windows comes with LF, as GnuPG
 * gives it here too. Binary data that somebody declared to be text is not what it was: that
 * happened when it was encrypted, and the report says so.
 */
int ems_pgp_text_convert(struct ems_pgp_text *t, struct ems_span *span, struct ems_error *err)
{
    size_t n = 0;

    if (t->out == NULL)
        t->out = malloc(EMS_PGP_TEXT_SIZE + 1);
    if (t->out == NULL)
        return ems_fail_memory(err);
    /* Only a CR in front of a LF goes; another one is the text's own. (GnuPG drops all of them.) */
    for (size_t i = 0; i < span->size; i++) {
        uint8_t c = span->data[i];

        if (t->held && c != '\n')
            t->out[n++] = '\r';
        t->held = c == '\r';
        if (!t->held)
            t->out[n++] = c;
    }
    *span = (struct ems_span){.data = t->out, .size = n, .origin = span->origin};
    return EMS_OK;
}

void ems_pgp_text_finish(struct ems_pgp_text *t, struct ems_span *span)
{
    *span = (struct ems_span){
        .data = (const uint8_t *)"\r", .size = t->held ? 1 : 0, .origin = EMS_NOWHERE};
    t->held = false;
}

/* EventSource-XS: what perl sees of it. Each XSUB settles its arguments, calls Rust and hands back the result; see
 * settle.h for the arguments and mod.rs for what lies behind. */

#define PERL_NO_GET_CONTEXT
#include "EXTERN.h"
#include "perl.h"
#include "XSUB.h"

#ifndef sv_copypv_nomg
#  define sv_copypv_nomg(to, from) sv_copypv(to, from)
#endif

#include "eventsource.h"
#include "settle.h"
#include "event.h"
#include "handle.h"

MODULE = EventSource::XS    PACKAGE = EventSource::XS

BOOT:
    esx_start();

void
format_event(...)
  PREINIT:
    esx_block block;
    int strings, careful;
    dXSTARG;
  PPCODE:
    for (careful = 0; careful < 2; careful++)
        if (esx_event_settle(aTHX_ &block, careful, ax, items, &strings))
            break;
    if (!block.len)
        esx_croakf("EventSource::XS: an event needs one of event, id, retry, data, json, comment");
    ST(0) = esx_block_encode(aTHX_ &block, TARG, strings, ESX_LF, NULL);
    XSRETURN(1);

void
_push_bytes(SV *characters, ...)
  PREINIT:
    esx_block block;
    int strings, careful;
    dXSTARG;
  PPCODE:
    careful = SvROK(characters) || SvGMAGICAL(characters); /* whether it is true may take Perl code to say */
    if (careful)
        esx_keep_args(aTHX_ ax, 0, items);
    strings = SvTRUE(characters) ? ESX_CHARACTERS : ESX_EITHER;
    for (; careful < 2; careful++)
        if (esx_push_settle(aTHX_ &block, careful, ax, items))
            break;
    ST(0) = esx_block_encode(aTHX_ &block, TARG, strings, ESX_CRLF, NULL);
    XSRETURN(1);

void
_nothing(...)
  PPCODE:
    /* The floor of what a call costs; bench/format measures against it. */
    XSRETURN(0);

MODULE = EventSource::XS    PACKAGE = HTTP::ServerEvent

void
as_string(...)
  PREINIT:
    esx_block block;
    SV *out;
    int careful;
    dXSTARG;
  PPCODE:
    for (careful = 0; careful < 2; careful++)
        if (esx_server_event_settle(aTHX_ &block, careful, ax, items))
            break;
    out = esx_block_encode(aTHX_ &block, TARG, ESX_AS_HELD, ESX_CRLF, esx_server_event_complaint);
    if (SvCUR(out) == 2)
        sv_catpvs(out, "\r\n"); /* even an event without a line has the end of one, and the blank line */
    ST(0) = out;
    XSRETURN(1);

MODULE = EventSource::XS    PACKAGE = EventSource::Parser

void
_attach(SV *self, SV *max_event)
  PREINIT:
    UV bytes;
  CODE:
    max_event = esx_keep(aTHX_ max_event);
    self = esx_read(aTHX_ self);
    bytes = SvUV(max_event);
    esx_parser_attach(aTHX_ self, bytes > (UV)(size_t)-1 ? (size_t)-1 : (size_t)bytes);

void
feed(SV *self, SV *bytes)
  PREINIT:
    STRLEN len;
    const char *text;
    void *parser;
    esx_report report;
    int status;
  PPCODE:
    bytes = esx_keep(aTHX_ bytes);
    self = esx_read(aTHX_ self);
    bytes = esx_read(aTHX_ bytes); /* may undefine self: the parser is looked up when all code has run */
    if (!SvOK(bytes))
        esx_croakf("EventSource::Parser: feed takes a string of bytes, not undef");
    if (!esx_is_plain(bytes) || SvUTF8(bytes))
        bytes = esx_string(aTHX_ bytes);
    if (!sv_utf8_downgrade(bytes, TRUE))
        esx_croakf("EventSource::Parser: feed takes bytes, this string holds a character above U+00FF");
    parser = esx_parser_of(aTHX_ self);
    text = SvPV_nomg_const(bytes, len);
    status = esx_parser_feed(parser, text, len, &report);
    if (status != ESX_OK && (GIMME_V != G_ARRAY || !esx_parser_ready(parser)))
        esx_croakf("EventSource::Parser: %s", report.message);
    if (GIMME_V == G_ARRAY) {
        esx_event event;
        while (esx_parser_next(parser, &event))
            mXPUSHs(esx_event_hash(aTHX_ &event));
    }
    else
        mXPUSHu(esx_parser_ready(parser));

void
finish(SV *self)
  CODE:
    esx_parser_finish(esx_parser_of(aTHX_ esx_read(aTHX_ self)));

SV *
last_event_id(SV *self)
  PREINIT:
    const char *id;
    size_t len;
  CODE:
    len = esx_parser_last_event_id(esx_parser_of(aTHX_ esx_read(aTHX_ self)), &id);
    RETVAL = esx_characters(aTHX_ id, len);
  OUTPUT:
    RETVAL

SV *
retry(SV *self)
  PREINIT:
    uint64_t retry;
  CODE:
    RETVAL = !esx_parser_retry(esx_parser_of(aTHX_ esx_read(aTHX_ self)), &retry) ? newSV(0)
        : retry <= UV_MAX ? newSVuv((UV)retry) : newSVnv((NV)retry);
  OUTPUT:
    RETVAL

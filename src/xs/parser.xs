# The methods of a parser. handle.h has its objects, parser.rs is behind it.

MODULE = EventSource::XS    PACKAGE = EventSource::Parser

void
_attach(SV *self, SV *max_event)
  PREINIT:
    MAGIC *magic;
    UV bytes;
  CODE:
    max_event = esx_keep_alive(aTHX_ max_event);
    self = esx_snapshot(aTHX_ self);
    bytes = SvUV(max_event);
    magic = esx_handle_new(aTHX_ self, &esx_parser_table, "EventSource::Parser", "parser");
    magic->mg_ptr = esx_parser_new(bytes > (UV)(size_t)-1 ? (size_t)-1 : (size_t)bytes);
    if (!magic->mg_ptr)
        esx_croakf(ESX_CODE_UNAVAILABLE, NULL, "EventSource::Parser: no memory for a parser");

void
feed(SV *self, SV *bytes)
  PREINIT:
    STRLEN len;
    const char *text;
    void *parser;
    esx_report report;
    int status;
  PPCODE:
    if (SvGMAGICAL(self) || !esx_is_plain(bytes)) {
        bytes = esx_keep_alive(aTHX_ bytes);
        self = esx_snapshot(aTHX_ self);
        bytes = esx_read(aTHX_ bytes);
    }
    if (!SvOK(bytes))
        esx_croakf(ESX_CODE_INVALID, "bytes", "EventSource::Parser: feed takes a string of bytes, not undef");
    if (SvROK(bytes) && !esx_is_overloaded(aTHX_ bytes))
        esx_croakf(ESX_CODE_INVALID, "bytes", "EventSource::Parser: feed takes a string of bytes, not a reference to %s",
            sv_reftype(SvRV(bytes), TRUE));
    if (!esx_is_plain(bytes) || SvUTF8(bytes))
        bytes = esx_string(aTHX_ bytes);
    if (!sv_utf8_downgrade(bytes, TRUE))
        esx_croakf(ESX_CODE_INVALID, "bytes",
            "EventSource::Parser: feed takes bytes, this string holds a character above U+00FF");
    parser = esx_parser_of(aTHX_ self);
    text = SvPV_nomg_const(bytes, len);
    status = esx_parser_feed(parser, text, len, &report);
    if (status != ESX_OK && (GIMME_V != G_ARRAY || !esx_parser_ready(parser)))
        esx_croak_report(aTHX_ &report, "EventSource::Parser", NULL);
    if (GIMME_V == G_ARRAY) {
        esx_text event[3];
        while (esx_parser_next(parser, event))
            mXPUSHs(esx_event_hash(aTHX_ event));
    }
    else
        mXPUSHu(esx_parser_ready(parser));

void
finish(SV *self)
  CODE:
    esx_parser_finish(esx_parser_of(aTHX_ esx_read(aTHX_ self)));

SV *
last_event_id(SV *self)
  CODE:
    RETVAL = esx_characters(aTHX_ esx_parser_last_event_id(esx_parser_of(aTHX_ esx_read(aTHX_ self))));
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

# Events: their encoding. event.h reads the arguments, encode.rs is behind it.

MODULE = EventSource::XS    PACKAGE = EventSource::XS

void
format_event(...)
  PREINIT:
    esx_block block;
    int strings;
    dXSTARG;
  PPCODE:
    esx_block_init(aTHX_ &block, ax, items, FALSE);
    esx_snapshot_event(aTHX_ &block, &strings);
    if (!block.len)
        esx_croakf(ESX_CODE_INVALID, NULL,
            "EventSource::XS: an event needs one of event, id, retry, data, json, comment; undef leaves one out");
    ST(0) = esx_block_encode(aTHX_ &block, TARG, strings, ESX_LF, NULL);
    XSRETURN(1);

void
_push_bytes(SV *characters, ...)
  PREINIT:
    esx_block block;
    int strings;
    dXSTARG;
  ALIAS:
    _push_bytes_in_hub = 1
    _push_bytes_lf = 2
    _push_bytes_lf_in_hub = 3
  PPCODE:
    esx_block_init(aTHX_ &block, ax, items, FALSE);
    if (SvROK(characters) || SvGMAGICAL(characters)) /* the test for truth may run Perl code */
        esx_block_detach(aTHX_ &block);
    strings = SvTRUE(characters) ? ESX_CHARACTERS : ESX_EITHER;
    esx_snapshot_push(aTHX_ &block, strings);
    ST(0) = esx_block_encode(aTHX_ &block, TARG, strings, ix & ESX_PUSH_LF ? ESX_LF : ESX_CRLF, NULL);
#ifdef __linux__
    if (ix & ESX_PUSH_IN_HUB)
        esx_check_ids(aTHX_ &block);
#endif
    XSRETURN(1);

MODULE = EventSource::XS    PACKAGE = HTTP::ServerEvent

void
as_string(...)
  PREINIT:
    esx_block block;
    SV *out;
    dXSTARG;
  PPCODE:
    esx_block_init(aTHX_ &block, ax, items, FALSE);
    esx_snapshot_server_event(aTHX_ &block);
    out = esx_block_encode(aTHX_ &block, TARG, ESX_AS_IS, ESX_CRLF, esx_server_event_error);
    if (SvCUR(out) == 2)
        sv_catpvs(out, "\r\n"); /* an event without a line still has a line end and the blank line */
    ST(0) = out;
    XSRETURN(1);

# Native streams. stream.h has their objects, stream.rs is behind them.

MODULE = EventSource::XS    PACKAGE = EventSource::XS::Stream::Native    PREFIX = esx_

void
_open(SV *class, SV *socket, SV *head, SV *interpreter, SV *settings, SV *first, SV *is_loop, SV *is_chunked)
  PREINIT:
    esx_opening opening;
    esx_report report;
    HV *stash;
    SV *object;
    void *stream;
  PPCODE:
    esx_keep_args_alive(aTHX_ ax, 0, items);
    esx_read_opening(aTHX_ &opening, interpreter, settings, first, is_loop, is_chunked);
    stash = esx_stash(aTHX_ class);
    head = esx_octets(aTHX_ head);
    opening.socket = (int)SvIV(socket);
    opening.head = SvPV_nomg_const(head, opening.head_len);
    stream = esx_stream_open(&opening, &report);
    if (!stream) { /* the error is returned, not thrown: a signal handler may throw too */
        ST(0) = &PL_sv_undef;
        ST(1) = sv_2mortal(newSVpv(report.message, 0));
        XSRETURN(2);
    }
    object = esx_stream_object(aTHX_ stash, stream);
    /* The stream owns the descriptor now. The caller must not close it, even if a signal handler dies from here on. */
    if (!SvREADONLY(socket))
        sv_setsv(socket, &PL_sv_undef);
    ST(0) = object;
    XSRETURN(1);

# The settings of streams, times in seconds, as each stream copies them.
SV *
_settings(NV keepalive, NV timeout, NV retry, NV handler_limit, UV max_buffered, UV max_streams, UV coding, bool drops_oldest, \
    bool is_lf, bool waits, bool may_wait)
  PREINIT:
    esx_opening opening;
  CODE:
    Zero(&opening, 1, esx_opening);
    opening.keepalive = keepalive;
    opening.timeout = timeout;
    opening.retry = retry;
    opening.handler_limit = handler_limit;
    opening.max_buffered = max_buffered;
    opening.max_streams = max_streams;
    opening.coding = (uint8_t)coding;
    opening.drops_oldest = drops_oldest;
    opening.line_end = is_lf ? ESX_LF : ESX_CRLF;
    opening.waits = waits;
    opening.may_wait = may_wait;
    RETVAL = newSVpvn((const char *)&opening, sizeof opening);
  OUTPUT:
    RETVAL

# A hash that has no handle yet becomes the stream instead of an object that was opened.
void
_become(SV *self, SV *opened)
  PREINIT:
    MAGIC *magic;
  CODE:
    esx_stream_of(aTHX_ opened);
    magic = esx_handle_magic(aTHX_ opened, &esx_stream_table);
    esx_handle_new(aTHX_ self, &esx_stream_table, "EventSource::XS::Stream::Native", "stream")->mg_ptr = magic->mg_ptr;
    magic->mg_ptr = NULL;

UV
esx_default_max_streams()

bool
_attach(SV *self, SV *socket)
  PREINIT:
    int number;
  CODE:
    socket = esx_keep_alive(aTHX_ socket);
    self = esx_snapshot(aTHX_ self);
    number = (int)SvIV(socket);
    RETVAL = esx_stream_attach(esx_stream_of(aTHX_ self), number) > 0;
  OUTPUT:
    RETVAL

bool
_take_over(SV *self, int number)
  CODE:
    self = esx_snapshot(aTHX_ self);
    RETVAL = esx_stream_take_over(esx_stream_of(aTHX_ self), number) > 0;
  OUTPUT:
    RETVAL

void
_close(SV *self, SV *why)
  PREINIT:
    esx_text reason;
  CODE:
    why = esx_keep_alive(aTHX_ why);
    self = esx_snapshot(aTHX_ self);
    why = esx_string(aTHX_ esx_read(aTHX_ why));
    reason = esx_text_of(aTHX_ why);
    if (!esx_stream_close(esx_stream_of(aTHX_ self), reason))
        esx_croakf(ESX_CODE_INVALID, "reason",
            "EventSource::XS::Stream::Native: '%" SVf "' is not a reason to close a stream", SVfARG(why));

# end_with_retry ends the stream with the reason server, after its client is sent a reconnection time.
void
end_with_retry(SV *self)
  ALIAS:
    _fail = 1
    _hand_over = 2
    _leave_other_clients = 3
    drop = 4
    enter_handler = 5
    leave_handler = 6
  PREINIT:
    static void (*const orders[])(void *) = {esx_stream_end_with_retry, esx_stream_fail, esx_stream_transfer,
        esx_stream_leave_other_clients, esx_stream_release, esx_stream_enter_handler, esx_stream_leave_handler};
    const MAGIC *magic;
  CODE:
    magic = ix == 4 ? esx_handle_magic(aTHX_ self, &esx_stream_table) : NULL;
    if (!magic || magic->mg_ptr)
        orders[ix](esx_stream_of(aTHX_ self));

# A stream that is handed over lives in the hub process, and so outlives this one. One that is for it may still wait for it.
bool
is_open(SV *self)
  ALIAS:
    is_subscribed = 1
    is_attached = 2
    is_handed_over = 3
    is_blocking = 4
    _has_begun = 5
    is_for_hub_process = 6
  PREINIT:
    static int (*const questions[])(void *) = {esx_stream_is_open, esx_stream_is_subscribed, esx_stream_is_attached,
        esx_stream_is_handed_over, esx_stream_ends_with_handle, esx_stream_has_begun,
        esx_stream_is_for_hub_process};
  CODE:
    RETVAL = questions[ix](esx_stream_of(aTHX_ self)) > 0;
  OUTPUT:
    RETVAL

void
_report_handler(SV *self, SV *line, int log)
  PREINIT:
    esx_text text;
  CODE:
    self = esx_snapshot(aTHX_ self);
    line = esx_string(aTHX_ esx_read(aTHX_ line));
    text.text = SvPV_nomg_const(line, text.len);
    esx_stream_report_handler(esx_stream_of(aTHX_ self), text, log);

void
_wait_for_end(SV *self, SV *milliseconds)
  PREINIT:
    UV number;
  CODE:
    milliseconds = esx_keep_alive(aTHX_ milliseconds);
    self = esx_snapshot(aTHX_ self);
    number = SvUV(milliseconds);
    esx_stream_wait_for_end(esx_stream_of(aTHX_ self), (uint32_t)number);

SV *
_name(SV *self)
  CODE:
    RETVAL = esx_stream_name_sv(aTHX_ esx_stream_name(esx_stream_of(aTHX_ self)));
  OUTPUT:
    RETVAL

void
_end_process_too(SV *self, NV grace, int report)
  CODE:
    esx_stream_end_process_too(esx_stream_of(aTHX_ self), grace, report);

void
_promise(SV *self, bool is_promised)
  CODE:
    esx_stream_promise(esx_stream_of(aTHX_ self), is_promised);

bool
_wait_until_sent(SV *self, UV milliseconds)
  CODE:
    RETVAL = esx_stream_wait_until_sent(esx_stream_of(aTHX_ self), (uint32_t)milliseconds) > 0;
  OUTPUT:
    RETVAL

# A reference to what _keep_callbacks was given a reference to; undef if there is nothing.
void
_callbacks(SV *self)
  PREINIT:
    const MAGIC *magic;
  PPCODE:
    magic = esx_handle_magic(aTHX_ self, &esx_stream_table);
    if (!magic || !magic->mg_obj)
        XSRETURN_UNDEF;
    mXPUSHs(newRV_inc(magic->mg_obj));

void
_keep_callbacks(SV *self, SV *reference)
  CODE:
    esx_stream_keep(aTHX_ self, reference);

void
_want_end(SV *self)
  PREINIT:
    int reason;
  PPCODE:
    reason = esx_stream_want_end(esx_stream_of(aTHX_ self));
    if (reason < 0)
        XSRETURN_UNDEF;
    mXPUSHs(esx_reason_sv(aTHX_ reason));

UV
buffered(SV *self)
  CODE:
    RETVAL = esx_stream_buffered(esx_stream_of(aTHX_ self));
  OUTPUT:
    RETVAL

bool
is_lf(SV *self)
  CODE:
    RETVAL = esx_stream_line_end(esx_stream_of(aTHX_ self)) == ESX_LF;
  OUTPUT:
    RETVAL

void
write(SV *self, SV *bytes)
  PPCODE:
    if (SvGMAGICAL(self) || !esx_is_plain(bytes)) {
        bytes = esx_keep_alive(aTHX_ bytes);
        self = esx_snapshot(aTHX_ self);
    }
    bytes = esx_bytes(aTHX_ bytes);
    ST(0) = boolSV(esx_stream_write(aTHX_ self, bytes, ESX_ID_UNKNOWN, &self));
    XSRETURN(1);

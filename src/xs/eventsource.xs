/* The functions that perl calls. Each XSUB snapshots its arguments, calls Rust and returns the result: see snapshot.h for
 * the arguments, error.h for exceptions, and mod.rs for the Rust side. */

#define PERL_NO_GET_CONTEXT
#include "EXTERN.h"
#include "perl.h"
#include "XSUB.h"

#ifndef sv_copypv_nomg
#  define sv_copypv_nomg(to, from) sv_copypv(to, from)
#endif

#ifndef HvNAMEUTF8
#  define HvNAMEUTF8(stash) 0
#endif

#include "eventsource.h"
#include "error.h"
#include "snapshot.h"
#include "event.h"
#include "handle.h"
#ifdef __linux__
#  include "stream.h"
#  include "hub.h"
#  include "process.h"
#endif

MODULE = EventSource::XS    PACKAGE = EventSource::XS

BOOT:
    {
        const char *debug = PerlEnv_getenv("EVENTSOURCE_XS_DEBUG");
        esx_is_debugging = debug && *debug && strNE(debug, "0");
    }
    esx_start();

void
format_event(...)
  PREINIT:
    esx_block block;
    int strings, copies;
    dXSTARG;
  PPCODE:
    for (copies = esx_is_debugging; copies < 2; copies++)
        if (esx_snapshot_event(aTHX_ &block, copies, ax, items, &strings))
            break;
    if (!block.len)
        esx_croakf(ESX_CODE_INVALID, NULL,
            "EventSource::XS: an event needs one of event, id, retry, data, json, comment");
    ST(0) = esx_block_encode(aTHX_ &block, TARG, strings, ESX_LF, NULL);
    XSRETURN(1);

# True if reading the value behind a reference runs magic. Does not run it.
bool
_has_get_magic(SV *reference)
  CODE:
    RETVAL = SvROK(reference) && SvGMAGICAL(SvRV(reference));
  OUTPUT:
    RETVAL

# The package in which a sub is compiled. The argument is a reference to code.
SV *
_package_of(SV *code)
  PREINIT:
    HV *package;
  CODE:
    package = SvROK(code) && SvTYPE(SvRV(code)) == SVt_PVCV ? CvSTASH((CV *)SvRV(code)) : NULL;
    RETVAL = package && HvNAME_HEK(package) ? newSVhek(HvNAME_HEK(package)) : newSVpvs("");
  OUTPUT:
    RETVAL

# Two references to arrays. See esx_are_same.
bool
_are_same(SV *one, SV *other)
  CODE:
    RETVAL = esx_are_same(aTHX_ one, other, 2);
  OUTPUT:
    RETVAL

# True if the members of an object that is a hash, in the order of an array of their names, are the same as the values of
# another array. See esx_are_same.
bool
_has_members(SV *object, SV *names, SV *values)
  CODE:
    RETVAL = esx_has_members(aTHX_ object, esx_plain_array(names), esx_plain_array(values));
  OUTPUT:
    RETVAL

void
_push_bytes(SV *characters, ...)
  PREINIT:
    esx_block block;
    int strings, copies;
    dXSTARG;
  ALIAS:
    _push_bytes_in_hub = 1
    _push_bytes_lf = 2
    _push_bytes_lf_in_hub = 3
  PPCODE:
    copies = SvROK(characters) || SvGMAGICAL(characters) || esx_is_debugging; /* the test for truth may run Perl code */
    if (copies)
        esx_keep_args_alive(aTHX_ ax, 0, items);
    strings = SvTRUE(characters) ? ESX_CHARACTERS : ESX_EITHER;
    for (; copies < 2; copies++)
        if (esx_snapshot_push(aTHX_ &block, copies, ax, items, strings))
            break;
    ST(0) = esx_block_encode(aTHX_ &block, TARG, strings, ix & ESX_PUSH_LF ? ESX_LF : ESX_CRLF, NULL);
#ifdef __linux__
    if (ix & ESX_PUSH_IN_HUB)
        esx_check_ids(aTHX_ &block);
#endif
    XSRETURN(1);

bool
_is_first_time(SV *name)
  PREINIT:
    const char *text;
    STRLEN len;
  CODE:
    name = esx_string(aTHX_ esx_read(aTHX_ name));
    text = SvPV_nomg_const(name, len);
    RETVAL = esx_is_first_time(text, len) > 0;
  OUTPUT:
    RETVAL

void
_nothing(...)
  PPCODE:
    /* The minimal cost of a call, with which bench/format compares. */
    XSRETURN(0);

MODULE = EventSource::XS    PACKAGE = HTTP::ServerEvent

void
as_string(...)
  PREINIT:
    esx_block block;
    SV *out;
    int copies;
    dXSTARG;
  PPCODE:
    for (copies = esx_is_debugging; copies < 2; copies++)
        if (esx_snapshot_server_event(aTHX_ &block, copies, ax, items))
            break;
    out = esx_block_encode(aTHX_ &block, TARG, ESX_AS_IS, ESX_CRLF, esx_server_event_error);
    if (SvCUR(out) == 2)
        sv_catpvs(out, "\r\n"); /* an event without a line still has a line end and the blank line */
    ST(0) = out;
    XSRETURN(1);

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

#ifdef __linux__

MODULE = EventSource::XS    PACKAGE = EventSource::XS

UV
_new_interpreter()
  CODE:
    RETVAL = esx_new_interpreter();
  OUTPUT:
    RETVAL

void
_remove_interpreter(UV interpreter)
  CODE:
    esx_remove_interpreter((uint32_t)interpreter);

void
_next_end(UV interpreter)
  PREINIT:
    uint64_t name;
    int reason;
  PPCODE:
    reason = esx_next_end((uint32_t)interpreter, &name);
    if (reason < 0)
        XSRETURN(0);
    EXTEND(SP, 2);
    mPUSHs(esx_stream_name_sv(aTHX_ name));
    mPUSHs(esx_reason_sv(aTHX_ reason));

# Takes what was lost on its way to the hub processes: how many events and streams, and the cause of the first.
void
_take_losses()
  PREINIT:
    char cause[512];
    size_t len = 0;
    uint64_t count;
  PPCODE:
    count = esx_take_losses(cause, sizeof cause, &len);
    if (!count)
        XSRETURN(0);
    EXTEND(SP, 2);
    mPUSHu((UV)count);
    mPUSHs(newSVpvn_utf8(cause, len, TRUE));

# True if an interpreter of this process has ends to take or callbacks to run, or if something was lost.
bool
_has_callbacks()
  CODE:
    RETVAL = esx_has_callbacks() != 0;
  OUTPUT:
    RETVAL

void
_finish()
  CODE:
    esx_finish();

# This process has made an application of this distribution, or has a request to answer. It connects to the processes of its hubs.
void
_serve(bool has_request)
  CODE:
    esx_serve(has_request);

# Sets when the running handler looks whether its worker is to end, in seconds since 1970; 0 for never. Returns what was set.
NV
_look_at(NV seconds)
  CODE:
    RETVAL = (NV)esx_look_at;
    esx_look_at = (time_t)seconds;
  OUTPUT:
    RETVAL

void
_linger(NV seconds)
  CODE:
    esx_linger(seconds);

SV *
_notify_descriptor(UV interpreter)
  CODE:
    RETVAL = esx_result(aTHX_ esx_notify_descriptor((uint32_t)interpreter));
  OUTPUT:
    RETVAL

void
_stats()
  PREINIT:
    esx_counts counts;
    HV *hash, *closed;
    int reason;
  PPCODE:
    esx_stats(&counts);
    hash = newHV();
    closed = newHV();
    (void)hv_stores(hash, "native", newSVuv((UV)counts.open));
    (void)hv_stores(hash, "opened", newSVuv((UV)counts.opened));
    (void)hv_stores(hash, "refused", newSVuv((UV)counts.refused));
    (void)hv_stores(hash, "events", newSVuv((UV)counts.events));
    (void)hv_stores(hash, "bytes", newSVuv((UV)counts.bytes));
    (void)hv_stores(hash, "lost", newSVuv((UV)counts.lost));
    (void)hv_stores(hash, "buffered", newSVuv((UV)counts.buffered));
    (void)hv_stores(hash, "wakeups", newSVuv((UV)counts.wakeups));
    (void)hv_stores(hash, "longest_delay", newSVnv(counts.longest_delay_ns / 1e9));
    for (reason = 0; reason < ESX_REASONS; reason++)
        (void)hv_store_ent(closed, sv_2mortal(esx_reason_sv(aTHX_ reason)), newSVuv((UV)counts.ended[reason]), 0);
    (void)hv_stores(hash, "closed", newRV_noinc((SV *)closed));
    mXPUSHs(newRV_noinc((SV *)hash));

void
_call_callbacks()
  CODE:
    esx_run_callbacks(aTHX);

void
_count_callbacks(IV added)
  CODE:
    esx_count_callbacks((ptrdiff_t)added);

UV
_signal_action(int signal)
  CODE:
    RETVAL = esx_signal_action(signal);
  OUTPUT:
    RETVAL

void
_set_end_signal(int signal, UV interpreter)
  CODE:
    esx_set_end_signal(signal, (uint32_t)interpreter);

SV *
_duplicate(int number)
  CODE:
    RETVAL = esx_result(aTHX_ esx_duplicate(number));
  OUTPUT:
    RETVAL

bool
_is_connection(int number)
  CODE:
    RETVAL = esx_is_connection(number) > 0;
  OUTPUT:
    RETVAL

bool
_has_left(int number)
  CODE:
    RETVAL = esx_has_left(number) > 0;
  OUTPUT:
    RETVAL

bool
_is_hung_up(int number)
  CODE:
    RETVAL = esx_is_hung_up(number) > 0;
  OUTPUT:
    RETVAL

bool
_is_short()
  CODE:
    RETVAL = esx_is_short() > 0;
  OUTPUT:
    RETVAL

MODULE = EventSource::XS    PACKAGE = Plack::App::EventSource::Connection

void
push(SV *self, ...)
  PREINIT:
    esx_block block;
    SV *stream, *bytes;
    AV *direct;
    int strings, ignored, copies, line_end, has_id;
    dXSTARG;
  PPCODE:
    esx_look(aTHX);
    stream = esx_stream_in(aTHX_ esx_plain_connection(aTHX_ self, &strings));
    if (stream && !esx_handle_magic(aTHX_ stream, &esx_stream_table)) {
        direct = esx_is_debugging ? NULL : esx_direct_of(aTHX_ stream);
        if (direct && esx_snapshot_push(aTHX_ &block, 0, ax, items, strings)) {
            SV *error, *kept[] = {SvRV(self), SvRV(stream)}; /* the writer may release both */
            line_end = SvTRUE_nomg(AvARRAY(direct)[ESX_IS_LF]) ? ESX_LF : ESX_CRLF;
            has_id = esx_block_has_id(&block) ? ESX_HAS_ID : ESX_NO_ID;
            bytes = esx_block_encode(aTHX_ &block, NULL, strings, line_end, NULL); /* the writer may keep it */
            sv_2mortal(SvREFCNT_inc_simple_NN(kept[0]));
            sv_2mortal(SvREFCNT_inc_simple_NN(kept[1]));
            switch (esx_writer_write(aTHX_ (HV *)kept[1], direct, bytes, has_id, &error)) {
            case ESX_WRITTEN:
                XSRETURN_YES;
            case ESX_DIED:
                EXTEND(SP, 3);
                ST(0) = sv_2mortal(newRV_inc(kept[0]));
                ST(1) = sv_2mortal(newRV_inc(kept[1]));
                ST(2) = error;
                XSRETURN(esx_call_again(aTHX_ "Plack::App::EventSource::Connection::_writer_died", ax, 3));
            }
        }
        stream = NULL;
    }
    if (!stream) {
        const I32 count = esx_call_again(aTHX_ "Plack::App::EventSource::Connection::_push_otherwise", ax, items);
        XSRETURN(count);
    }
    for (copies = esx_is_debugging; copies < 2; copies++) {
        if (copies)
            self = esx_snapshot(aTHX_ self);
        if (esx_snapshot_push(aTHX_ &block, copies, ax, items, strings))
            break;
    }
    if (copies) /* Perl code may have replaced the stream while the arguments were read */
        stream = esx_native_stream(aTHX_ self, &ignored);
    line_end = stream ? esx_stream_line_end(esx_stream_of(aTHX_ stream)) : ESX_CRLF;
    bytes = esx_block_encode(aTHX_ &block, TARG, strings, line_end, NULL);
    has_id = esx_block_has_id(&block) ? ESX_HAS_ID : ESX_NO_ID;
    if (stream && has_id && esx_stream_is_subscribed(esx_stream_of(aTHX_ stream)))
        esx_check_ids(aTHX_ &block);
    if (stream && esx_stream_write(aTHX_ stream, bytes, has_id, &self))
        XSRETURN_YES;
    PL_stack_base[ax] = self;
    XSRETURN(esx_call_again(aTHX_ "Plack::App::EventSource::Connection::_not_taken", ax, 1));

MODULE = EventSource::XS    PACKAGE = EventSource::XS::Stream::Writer

void
write(SV *self, SV *bytes)
  PREINIT:
    SV *error;
    AV *direct;
    int written;
  PPCODE:
    direct = SvGMAGICAL(self) || !esx_is_plain(bytes) ? NULL : esx_direct_of(aTHX_ self);
    written = ESX_NOT_TRIED;
    if (direct) {
        self = sv_2mortal(newRV_inc(SvRV(self))); /* the writer may release it */
        written = esx_writer_write(aTHX_ (HV *)SvRV(self), direct, sv_mortalcopy(bytes), ESX_ID_UNKNOWN, &error);
    }
    if (written == ESX_WRITTEN)
        XSRETURN_YES;
    if (written == ESX_NOT_TRIED)
        XSRETURN(esx_call_again(aTHX_ "EventSource::XS::Stream::Writer::_write_otherwise", ax, 2));
    ST(0) = self;
    ST(1) = error;
    XSRETURN(esx_call_again(aTHX_ "EventSource::XS::Stream::Writer::writer_died", ax, 2));

MODULE = EventSource::XS    PACKAGE = EventSource::XS::Stream::Takeover

void
_capture(SV *class, SV *number)
  PREINIT:
    esx_report report;
    HV *stash;
    void *capture;
    int descriptor;
  PPCODE:
    esx_keep_args_alive(aTHX_ ax, 0, items);
    descriptor = (int)SvIV(number);
    stash = esx_stash(aTHX_ class);
    capture = esx_capture_begin(descriptor, FALSE, &report);
    if (!capture) {
        ST(0) = &PL_sv_undef;
        XSRETURN(esx_set_obstacle(aTHX_ ax, 1, &report));
    }
    ST(0) = sv_bless(sv_2mortal(esx_new_capture(aTHX_ capture)), stash);
    XSRETURN(1);

bool
_has_head(SV *self)
  CODE:
    RETVAL = esx_capture_has_head(esx_capture_of(aTHX_ self)) > 0;
  OUTPUT:
    RETVAL

void
_open(SV *self, SV *class, SV *interpreter, SV *settings, SV *first, SV *is_loop, SV *takes_chunks, SV *probe)
  PREINIT:
    esx_opening opening;
    esx_report report;
    HV *stash;
    void *stream;
  PPCODE:
    esx_keep_args_alive(aTHX_ ax, 0, items);
    self = esx_snapshot(aTHX_ self);
    esx_read_opening(aTHX_ &opening, interpreter, settings, first, is_loop, takes_chunks);
    stash = esx_stash(aTHX_ class);
    probe = esx_octets(aTHX_ probe);
    opening.socket = -1;
    opening.head = SvPV_nomg_const(probe, opening.head_len);
    stream = esx_capture_open(esx_capture_of(aTHX_ self), &opening, &report);
    if (!stream) {
        ST(0) = &PL_sv_undef;
        XSRETURN(esx_set_obstacle(aTHX_ ax, 1, &report));
    }
    ST(0) = esx_stream_object(aTHX_ stash, stream);
    XSRETURN(1);

void
_restore(SV *self)
  CODE:
    esx_capture_restore(esx_capture_of(aTHX_ self));

MODULE = EventSource::XS    PACKAGE = EventSource::XS::Stream::Native

# The takeover in one call, as EventSource::XS::Stream::Takeover::begin makes it step by step, if nothing about the request is
# special. Returns nothing if something is; the stream; or undef, the takeover, the writer, and the obstacle's code and text if
# the stream was refused. The takeover is undef if it could not begin.
void
_begin_plainly(SV *env, SV *respond, SV *response, SV *settings, SV *first, SV *probe, SV *interpreter, SV *known)
  PREINIT:
    esx_opening opening;
    esx_report report;
    HV *request, *writers;
    SV *capture, *writer, *write, *protocol, *is_loop;
    void *stream;
    int number, results;
  PPCODE:
    request = esx_plain_hash(env);
    writers = esx_plain_hash(known);
    if (!request || !writers || !esx_is_plain(probe) || !esx_is_plain(first) || !esx_is_small_head(aTHX_ response)
        || !SvROK(respond) || SvTYPE(SvRV(respond)) != SVt_PVCV
        || (number = esx_plain_descriptor(aTHX_ request, writers, &protocol, &is_loop)) < 0)
        XSRETURN(0);
    esx_read_opening(aTHX_ &opening, interpreter, settings, first, is_loop, boolSV(esx_is_text(protocol, "HTTP/1.1")));
    opening.socket = -1;
    opening.head = SvPVX_const(probe);
    opening.head_len = SvCUR(probe);
    stream = esx_capture_begin(number, TRUE, &report);
    if (!stream) {
        ST(0) = ST(1) = ST(2) = &PL_sv_undef;
        XSRETURN(esx_set_obstacle(aTHX_ ax, 3, &report));
    }
    /* From here on Perl code runs, and may die. That frees the object, which undoes the takeover. */
    ENTER;
    capture = esx_new_capture(aTHX_ stream);
    SAVEFREESV(capture);
    writer = esx_respond(aTHX_ respond, response);
    results = 3;
    stream = NULL;
    if (esx_is_plain_writer(aTHX_ writer, writers, &write) && esx_capture_has_head(esx_capture_of(aTHX_ capture)) > 0) {
        esx_call_writer(aTHX_ writer, "write", write, probe, 0);
        stream = esx_capture_open(esx_capture_of(aTHX_ capture), &opening, &report);
        results = 4;
    }
    if (stream) {
        ST(0) = esx_stream_object(aTHX_ GvSTASH(CvGV(cv)), stream);
        esx_call_writer(aTHX_ writer, "close", esx_inline_code(aTHX_ writer, "close"), NULL, G_EVAL);
        results = 1;
    }
    else {
        ST(0) = &PL_sv_undef;
        ST(1) = sv_bless(sv_2mortal(SvREFCNT_inc_simple_NN(capture)), gv_stashpvs("EventSource::XS::Stream::Takeover", GV_ADD));
        ST(2) = writer;
        if (results > 3)
            results = esx_set_obstacle(aTHX_ ax, 3, &report);
    }
    LEAVE;
    XSRETURN(results);

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

UV
default_max_streams()
  CODE:
    RETVAL = esx_default_max_streams();
  OUTPUT:
    RETVAL

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
    int reason;
  CODE:
    why = esx_keep_alive(aTHX_ why);
    self = esx_snapshot(aTHX_ self);
    why = esx_string(aTHX_ esx_read(aTHX_ why));
    reason = esx_reason_of(aTHX_ why);
    if (reason < 0)
        esx_croakf(ESX_CODE_INVALID, "reason",
            "EventSource::XS::Stream::Native: '%" SVf "' is not a reason to close a stream", SVfARG(why));
    esx_stream_close(esx_stream_of(aTHX_ self), (uint32_t)reason);

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
    static void (*const orders[])(void *) = {esx_stream_end_with_retry, esx_stream_fail, esx_stream_hand_over,
        esx_stream_leave_other_clients, esx_stream_release, esx_stream_enter_handler, esx_stream_leave_handler};
  CODE:
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
    const char *text;
    STRLEN len;
  CODE:
    self = esx_snapshot(aTHX_ self);
    line = esx_string(aTHX_ esx_read(aTHX_ line));
    text = SvPV_nomg_const(line, len);
    esx_stream_report_handler(esx_stream_of(aTHX_ self), text, len, log);

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

MODULE = EventSource::XS    PACKAGE = EventSource::Hub

void
_attach(SV *self, SV *settings)
  PREINIT:
    esx_hub_settings raw;
    esx_report report;
    MAGIC *magic;
    HV *hash;
    AV *gap_data;
    int reason;
  CODE:
    settings = esx_keep_alive(aTHX_ settings);
    self = esx_snapshot(aTHX_ self);
    hash = esx_settings(aTHX_ settings);
    raw.events = esx_setting_uv(aTHX_ hash, "events");
    raw.bytes = esx_setting_uv(aTHX_ hash, "bytes");
    raw.events_in_total = esx_setting_uv(aTHX_ hash, "events_in_total");
    raw.bytes_in_total = esx_setting_uv(aTHX_ hash, "bytes_in_total");
    raw.seconds = esx_setting_nv(aTHX_ hash, "seconds");
    raw.seconds_in_total = esx_setting_nv(aTHX_ hash, "seconds_in_total");
    raw.state_keys = esx_setting_uv(aTHX_ hash, "state_keys");
    raw.state_bytes = esx_setting_uv(aTHX_ hash, "state_bytes");
    raw.total_state_keys = esx_setting_uv(aTHX_ hash, "total_state_keys");
    raw.total_state_bytes = esx_setting_uv(aTHX_ hash, "total_state_bytes");
    raw.max_topics = esx_setting_uv(aTHX_ hash, "max_topics");
    raw.max_streams = esx_setting_uv(aTHX_ hash, "max_streams");
    raw.max_members = esx_setting_uv(aTHX_ hash, "max_members");
    raw.on_slow = (uint8_t)esx_setting_uv(aTHX_ hash, "on_slow");
    raw.opaque_ids = (uint8_t)esx_setting_uv(aTHX_ hash, "opaque_ids");
    raw.refuses_position_event = esx_setting_is(aTHX_ hash, "refuses_position_event");
    raw.name = esx_setting_text(aTHX_ hash, "name");
    raw.socket = esx_setting_path(aTHX_ hash, "socket");
    raw.program = esx_setting_path(aTHX_ hash, "program");
    raw.idle_exit = esx_setting_nv(aTHX_ hash, "idle_exit");
    raw.grace = esx_setting_nv(aTHX_ hash, "grace");
    raw.publish_timeout = esx_setting_nv(aTHX_ hash, "publish_timeout");
    raw.store = esx_setting_bytes(aTHX_ hash, "store");
    raw.named = esx_setting_text(aTHX_ hash, "named");
    raw.channels = esx_setting_bytes(aTHX_ hash, "channels");
    raw.gap_event = esx_setting_text(aTHX_ hash, "gap_event");
    raw.position_event = esx_setting_text(aTHX_ hash, "position_event");
    gap_data = esx_plain_array(esx_setting(aTHX_ hash, "gap_data"));
    for (reason = 0; reason < ESX_GAPS; reason++) {
        SV **data = gap_data ? av_fetch(gap_data, reason, 0) : NULL;
        raw.gap_data[reason].text = NULL;
        raw.gap_data[reason].len = 0;
        if (data)
            raw.gap_data[reason] = esx_text_of(aTHX_ esx_string(aTHX_ *data));
    }
    magic = esx_handle_new(aTHX_ self, &esx_hub_table, "EventSource::Hub", "hub");
    magic->mg_ptr = esx_hub_new(&raw, &report);
    if (!magic->mg_ptr)
        esx_croak_report(aTHX_ &report, "EventSource::Hub", NULL);

void
publish(SV *self, SV *channel, SV *event, SV *options = NULL)
  PREINIT:
    esx_block block;
    SV *key, *once = NULL;
    int strings, copies;
    uint8_t retain = ESX_RETAIN_NO;
    bool waits = TRUE;
    dXSTARG;
  PPCODE:
    copies = esx_is_debugging || (options && !esx_publish_options_are_plain(aTHX_ options));
    for (; copies < 2; copies++)
        if (esx_snapshot_publish(aTHX_ &block, copies, ax, items, &strings, &channel, &key, &retain))
            break;
    if (options)
        esx_snapshot_publish_options(aTHX_ ST(3), &once, &waits);
    if (!block.len)
        esx_croakf(ESX_CODE_INVALID, NULL,
            "EventSource::Hub: an event needs one of event, id, retry, data, json, comment");
    PERL_UNUSED_VAR(self);
    PERL_UNUSED_VAR(event);
    ST(0) = esx_publish(aTHX_ esx_hub_of(aTHX_ ST(0)), &block, strings, channel, key, retain, once, waits, TARG);
    esx_run_callbacks(aTHX);
    XSRETURN(1);

int
_subscribe(SV *self, SV *stream, SV *names, SV *after, SV *start, SV *last, SV *first_block)
  PREINIT:
    esx_request request;
    esx_report report;
    AV *array, *labels;
    HV *hash;
    SV *retry, *max_age;
  CODE:
    esx_keep_args_alive(aTHX_ ax, 0, items);
    self = esx_snapshot(aTHX_ self);
    stream = esx_snapshot(aTHX_ stream);
    array = esx_plain_array(esx_read(aTHX_ names));
    if (!array)
        esx_croakf(ESX_CODE_INVALID, NULL, "EventSource::Hub: _subscribe takes an array of names");
    array = esx_snapshot_topics(aTHX_ array);
    after = esx_read(aTHX_ after);
    if (SvOK(after))
        after = esx_string(aTHX_ after);
    hash = esx_settings(aTHX_ first_block);
    retry = esx_setting(aTHX_ hash, "retry");
    request.has_retry = cBOOL(SvOK(retry));
    request.retry = request.has_retry ? (uint64_t)SvUV(retry) : 0;
    request.position = (uint8_t)esx_setting_uv(aTHX_ hash, "position");
    request.keeps_id = esx_setting_is(aTHX_ hash, "keeps_id");
    max_age = esx_setting(aTHX_ hash, "max_age");
    request.max_age = SvOK(max_age) ? SvNV(max_age) : -1;
    request.asked_at = (uint64_t)esx_setting_uv(aTHX_ hash, "asked_at");
    labels = esx_plain_array(esx_setting(aTHX_ hash, "labels"));
    request.labels = NULL;
    request.labels_len = 0;
    if (labels)
        request.labels = esx_topics_of(aTHX_ esx_snapshot_topics(aTHX_ labels), &request.labels_len);
    request.member = esx_array_texts(aTHX_ esx_setting(aTHX_ hash, "member"), &request.member_len);
    request.will = esx_array_texts(aTHX_ esx_setting(aTHX_ hash, "will"), &request.will_len);
    request.start = (uint8_t)SvUV(start);
    request.last = SvUV(last);
    request.topics = esx_topics_of(aTHX_ array, &request.len);
    request.after.text = NULL;
    request.after.len = 0;
    if (SvOK(after))
        request.after = esx_text_of(aTHX_ after);
    if (request.after.len > ESX_NAME_MAX)
        request.after.len = ESX_NAME_MAX + 1; /* no event has a longer id, so the cut one is unknown too */
    RETVAL = esx_hub_subscribe(esx_hub_of(aTHX_ self), esx_stream_of(aTHX_ stream), &request, &report);
    if (RETVAL < 0)
        esx_croak_report(aTHX_ &report, "EventSource::Hub", NULL);
  OUTPUT:
    RETVAL

# A page of a channel's members: where the list continues, and five texts of each member. EventSource::Hub has checked the name.
SV *
_members(SV *self, SV *channel, SV *after)
  PREINIT:
    esx_text name, last;
    esx_report report;
    void *texts;
  CODE:
    esx_keep_args_alive(aTHX_ ax, 0, items);
    self = esx_snapshot(aTHX_ self);
    name = esx_text_of(aTHX_ esx_string(aTHX_ esx_read(aTHX_ channel)));
    last = esx_text_of(aTHX_ esx_string(aTHX_ esx_read(aTHX_ after)));
    texts = esx_hub_members(esx_hub_of(aTHX_ self), name, last, &report);
    RETVAL = esx_texts(aTHX_ texts, &report, "EventSource::Hub", SVf_UTF8);
  OUTPUT:
    RETVAL

UV
_count_members(SV *self, SV *channel)
  PREINIT:
    esx_text name;
    esx_report report;
  CODE:
    esx_keep_args_alive(aTHX_ ax, 0, items);
    self = esx_snapshot(aTHX_ self);
    name = esx_text_of(aTHX_ esx_string(aTHX_ esx_read(aTHX_ channel)));
    esx_check(aTHX_ esx_hub_count_members(esx_hub_of(aTHX_ self), name, &report), &report, "EventSource::Hub");
    RETVAL = report.size;
  OUTPUT:
    RETVAL

# Reserves a place for a stream with a label; false if so many streams have it.
bool
_reserve(SV *self, SV *label, UV most)
  PREINIT:
    esx_text text;
    esx_report report;
  CODE:
    esx_keep_args_alive(aTHX_ ax, 0, items);
    self = esx_snapshot(aTHX_ self);
    text = esx_text_of(aTHX_ esx_string(aTHX_ esx_read(aTHX_ label)));
    esx_check(aTHX_ esx_hub_reserve(esx_hub_of(aTHX_ self), text, most, &report), &report, "EventSource::Hub");
    RETVAL = report.size > 0;
  OUTPUT:
    RETVAL

bool
_has_refused_members(SV *self)
  CODE:
    RETVAL = esx_hub_has_refused_members(esx_hub_of(aTHX_ self)) > 0;
  OUTPUT:
    RETVAL

# Takes what EventSource::XS::Hub::Member makes of a change. Returns false if the member is not here.
bool
_update_member(SV *self, SV *texts)
  PREINIT:
    const esx_text *given;
    esx_report report;
    size_t len;
  CODE:
    esx_keep_args_alive(aTHX_ ax, 0, items);
    self = esx_snapshot(aTHX_ self);
    given = esx_array_texts(aTHX_ texts, &len);
    esx_check(aTHX_ esx_hub_update_member(esx_hub_of(aTHX_ self), given, len, &report), &report, "EventSource::Hub");
    RETVAL = report.size > 0;
  OUTPUT:
    RETVAL

# Ends streams. EventSource::Hub has checked the arrays.
UV
_end(SV *self, SV *labels, SV *topics, bool finishes)
  PREINIT:
    const esx_topic *ended_labels, *ended_topics;
    AV *label_array, *topic_array;
    size_t labels_len, topics_len;
    esx_report report;
    int status;
  CODE:
    esx_keep_args_alive(aTHX_ ax, 0, items);
    self = esx_snapshot(aTHX_ self);
    label_array = esx_plain_array(esx_read(aTHX_ labels));
    topic_array = esx_plain_array(esx_read(aTHX_ topics));
    if (!label_array || !topic_array)
        esx_croakf(ESX_CODE_INVALID, NULL, "EventSource::Hub: _end takes arrays of names");
    label_array = esx_snapshot_topics(aTHX_ label_array);
    topic_array = esx_snapshot_topics(aTHX_ topic_array);
    ended_labels = esx_topics_of(aTHX_ label_array, &labels_len);
    ended_topics = esx_topics_of(aTHX_ topic_array, &topics_len);
    status = esx_hub_end(esx_hub_of(aTHX_ self), ended_labels, labels_len, ended_topics, topics_len, finishes, &report);
    if (status != ESX_ENDING)
        esx_check(aTHX_ status, &report, "EventSource::Hub");
    RETVAL = status == ESX_OK ? report.size : 0;
  OUTPUT:
    RETVAL

# The time, as a subscription and the end of streams compare it; 0 if it does not fit.
UV
clock(SV *class)
  CODE:
    PERL_UNUSED_VAR(class);
    RETVAL = UVSIZE < 8 ? 0 : (UV)esx_monotonic();
  OUTPUT:
    RETVAL

# _known_epoch is empty if the hub process is away, and does not wait for it.
SV *
epoch(SV *self)
  ALIAS:
    _known_epoch = 1
  PREINIT:
    char epoch[ESX_ID_MAX];
    esx_report report;
  CODE:
    esx_check(aTHX_ esx_hub_epoch(esx_hub_of(aTHX_ self), !ix, epoch, &report), &report, "EventSource::Hub");
    esx_run_callbacks(aTHX);
    RETVAL = newSVpvn(epoch, report.size);
  OUTPUT:
    RETVAL

SV *
stats(SV *self)
  PREINIT:
    esx_report report;
    SV *counts;
    void *texts;
  CODE:
    texts = esx_hub_counts(esx_hub_of(aTHX_ self), &report);
    counts = sv_2mortal(esx_texts(aTHX_ texts, &report, "EventSource::Hub", SVf_UTF8));
    esx_run_callbacks(aTHX);
    RETVAL = SvREFCNT_inc(esx_call(aTHX_ "EventSource::Hub::Process::_counts_of", 1, &counts));
  OUTPUT:
    RETVAL

# Takes what EventSource::XS::Hub::Metrics makes of its options. Returns bytes of UTF-8.
SV *
_metrics(SV *self, SV *given)
  PREINIT:
    const esx_text *texts;
    esx_report report;
    void *text;
    size_t len;
  CODE:
    esx_keep_args_alive(aTHX_ ax, 0, items);
    self = esx_snapshot(aTHX_ self);
    texts = esx_array_texts(aTHX_ given, &len);
    if (!len)
        esx_croakf(ESX_CODE_INVALID, NULL, "EventSource::Hub: _metrics takes an array");
    text = esx_hub_metrics(esx_hub_of(aTHX_ self), texts, len, &report);
    if (!text)
        esx_croak_report(aTHX_ &report, "EventSource::Hub", NULL);
    {
        const esx_text first = esx_texts_at(text, 0);
        RETVAL = newSVpvn(first.text, first.len);
    }
    esx_texts_drop(text);
    esx_run_callbacks(aTHX);
  OUTPUT:
    RETVAL

UV
subscribers(SV *self, SV *channel)
  PREINIT:
    esx_report report;
    esx_text name;
  CODE:
    channel = esx_keep_alive(aTHX_ channel);
    self = esx_snapshot(aTHX_ self);
    esx_snapshot_text(aTHX_ TRUE, "channel", "a channel's name", &channel);
    name = esx_channel_of(aTHX_ channel);
    esx_check(aTHX_ esx_hub_subscribers(esx_hub_of(aTHX_ self), name, &report), &report, "EventSource::Hub");
    esx_run_callbacks(aTHX);
    RETVAL = report.size;
  OUTPUT:
    RETVAL

void
_drain(SV *self, SV *seconds)
  PREINIT:
    esx_report report;
    NV number;
  CODE:
    seconds = esx_keep_alive(aTHX_ seconds);
    self = esx_snapshot(aTHX_ self);
    number = SvNV(seconds);
    esx_check(aTHX_ esx_hub_drain(esx_hub_of(aTHX_ self), number, &report), &report, "EventSource::Hub");

# True if the hub has a hub process.
bool
_has_process(SV *self)
  CODE:
    RETVAL = esx_hub_has_process(esx_hub_of(aTHX_ self)) > 0;
  OUTPUT:
    RETVAL

# Asks for a lease, which the given object is from then on. An interpreter is told of changes as of the ends of streams.
void
_elect(SV *self, SV *object, SV *name, UV interpreter)
  PREINIT:
    esx_report report;
    esx_text text;
    MAGIC *magic;
  CODE:
    name = esx_keep_alive(aTHX_ name);
    self = esx_snapshot(aTHX_ self);
    object = esx_snapshot(aTHX_ object);
    text = esx_text_of(aTHX_ esx_string(aTHX_ name));
    if (!SvROK(object) || !SvOBJECT(SvRV(object)) || SvTYPE(SvRV(object)) < SVt_PVMG
        || esx_handle_magic(aTHX_ object, &esx_lease_table))
        esx_croakf(ESX_CODE_INVALID, NULL, "EventSource::Hub: _elect takes a new object");
    if (!esx_hub_has_process(esx_hub_of(aTHX_ self)))
        esx_croakf(ESX_CODE_STATE, NULL, "EventSource::Hub: only a named hub has leases");
    magic = esx_handle_attach(aTHX_ SvRV(object), &esx_lease_table);
    magic->mg_ptr = esx_hub_elect(esx_hub_of(aTHX_ self), text, (uint32_t)interpreter, &report);
    if (!magic->mg_ptr)
        esx_croak_report(aTHX_ &report, "EventSource::Hub", NULL);

MODULE = EventSource::XS    PACKAGE = EventSource::Hub::Process

void
_connect(SV *self, SV *settings)
  PREINIT:
    esx_text name, socket, program;
    esx_report report;
    MAGIC *magic;
    HV *hash;
    NV timeout;
    bool needs_settings;
  CODE:
    settings = esx_keep_alive(aTHX_ settings);
    self = esx_snapshot(aTHX_ self);
    hash = esx_settings(aTHX_ settings);
    name = esx_setting_text(aTHX_ hash, "name");
    socket = esx_setting_path(aTHX_ hash, "socket");
    needs_settings = esx_setting_is(aTHX_ hash, "needs_settings");
    program = esx_setting_path(aTHX_ hash, "program");
    timeout = esx_setting_nv(aTHX_ hash, "timeout");
    magic = esx_handle_new(aTHX_ self, &esx_process_table, "EventSource::Hub::Process", "connection");
    magic->mg_ptr = esx_process_connect(name, socket, program, needs_settings, timeout, &report);
    if (!magic->mg_ptr)
        esx_croak_report(aTHX_ &report, "EventSource::Hub::Process", NULL);

void
_replace(SV *class, SV *settings)
  PREINIT:
    esx_text name, socket, program;
    esx_report report;
    HV *hash;
    NV timeout;
  CODE:
    PERL_UNUSED_VAR(class);
    settings = esx_keep_alive(aTHX_ settings);
    hash = esx_settings(aTHX_ settings);
    name = esx_setting_text(aTHX_ hash, "name");
    socket = esx_setting_path(aTHX_ hash, "socket");
    program = esx_setting_path(aTHX_ hash, "program");
    timeout = esx_setting_nv(aTHX_ hash, "timeout");
    esx_check(aTHX_ esx_process_replace(name, socket, program, timeout, &report), &report, "EventSource::Hub::Process");

SV *
_call(SV *self, ...)
  PREINIT:
    const esx_text *texts;
    esx_report report;
    void *results;
  CODE:
    texts = esx_process_texts(aTHX_ ax, items);
    results = esx_process_call(esx_process_of(aTHX_ self), texts, (size_t)(items - 1), &report);
    RETVAL = esx_texts(aTHX_ results, &report, "EventSource::Hub::Process", 0);
  OUTPUT:
    RETVAL

SV *
_folders()
  PREINIT:
    esx_report report;
    void *folders;
  CODE:
    folders = esx_process_folders(&report);
    RETVAL = esx_texts(aTHX_ folders, &report, "EventSource::Hub::Process", 0);
  OUTPUT:
    RETVAL

SV *
_first_store(SV *settings)
  PREINIT:
    esx_report report;
    HV *hash;
    void *store;
  CODE:
    settings = esx_keep_alive(aTHX_ settings);
    hash = esx_settings(aTHX_ settings);
    store = esx_process_store(esx_setting_text(aTHX_ hash, "name"), esx_setting_path(aTHX_ hash, "socket"),
        esx_setting_text(aTHX_ hash, "store"), &report);
    RETVAL = esx_texts(aTHX_ store, &report, "EventSource::Hub::Process", 0);
  OUTPUT:
    RETVAL

MODULE = EventSource::XS    PACKAGE = EventSource::XS::Hub::Store

# The names of the settings of each kind of store, with spaces between.
void
_names()
  PREINIT:
    size_t kind;
    esx_text names;
  PPCODE:
    for (kind = 0; names = esx_store_names(kind), names.len; kind++)
        mXPUSHp(names.text, names.len);

MODULE = EventSource::XS    PACKAGE = EventSource::XS::ContentCoding

# The names of the content codings in the order of their numbers, the best last.
void
_names()
  PREINIT:
    size_t number;
    esx_text name;
  PPCODE:
    for (number = 0; name = esx_coding(number), name.len; number++)
        mXPUSHp(name.text, name.len);

MODULE = EventSource::XS    PACKAGE = EventSource::Hub::Lease::Native

# The number of what is known of the lease: 0 while another worker holds it, 1 if this one does, 2 if it is to be asked for.
int
_state(SV *self)
  PREINIT:
    MAGIC *magic;
  CODE:
    magic = esx_handle_magic(aTHX_ self, &esx_lease_table);
    RETVAL = magic && magic->mg_ptr ? esx_lease_state(magic->mg_ptr) : 2;
  OUTPUT:
    RETVAL

#endif

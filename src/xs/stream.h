/* Streams: objects with a stream handle behind them. handle.h describes such objects. */

ESX_HANDLE(stream)
ESX_HANDLE(capture)
ESX_HANDLE_OF(stream, ESX_CODE_INVALID,
    "EventSource::XS::Stream::Native: this is not a stream; open one with EventSource::XS::Stream->open")
ESX_HANDLE_OF(capture, ESX_CODE_INVALID, "EventSource::XS::Stream::Takeover: this is not a takeover of this thread")

/* Returns the stash of a class that is given by its name. */
static HV *
esx_stash(pTHX_ SV *class)
{
    return gv_stashsv(esx_string(aTHX_ esx_read(aTHX_ class)), GV_ADD);
}

/* Returns a string of bytes. Croaks if it has a character above U+00FF. */
static SV *
esx_octets(pTHX_ SV *bytes)
{
    bytes = esx_string(aTHX_ esx_read(aTHX_ bytes));
    sv_utf8_downgrade(bytes, FALSE);
    return bytes;
}

/* Reads the settings of a stream, and keeps what was read in a member of their hash: one look-up instead of nine for the next
 * stream. Only a hash that never changes may be given (native_settings in EventSource::XS::Stream::Native). */
static void
esx_read_settings(pTHX_ esx_opening *opening, HV *hash)
{
    SV **known = hv_fetchs(hash, "read", 0);
    if (known && SvPOK(*known) && !SvGMAGICAL(*known) && SvCUR(*known) == sizeof *opening) {
        Copy(SvPVX_const(*known), opening, 1, esx_opening);
        return;
    }
    Zero(opening, 1, esx_opening);
    opening->keepalive = esx_setting_nv(aTHX_ hash, "keepalive");
    opening->timeout = esx_setting_nv(aTHX_ hash, "timeout");
    opening->retry = esx_setting_nv(aTHX_ hash, "retry") / 1000;
    opening->handler_limit = esx_setting_nv(aTHX_ hash, "handler_limit");
    opening->max_buffered = esx_setting_uv(aTHX_ hash, "max_buffered");
    opening->max_streams = esx_setting_uv(aTHX_ hash, "max_streams");
    opening->drops_oldest = esx_setting_is(aTHX_ hash, "drops_oldest");
    opening->line_end = esx_setting_is(aTHX_ hash, "is_lf") ? ESX_LF : ESX_CRLF;
    opening->waits = esx_setting_is(aTHX_ hash, "waits");
    opening->may_wait = esx_setting_is(aTHX_ hash, "may_wait");
    opening->coding = (uint8_t)esx_setting_uv(aTHX_ hash, "coding");
    (void)hv_stores(hash, "read", newSVpvn((const char *)opening, sizeof *opening));
}

/* Reads the settings of a new stream and the first bytes of its body. */
static void
esx_read_opening(pTHX_ esx_opening *opening, SV *interpreter, SV *settings, SV *first, SV *is_loop, SV *is_chunked)
{
    const bool loop = cBOOL(SvTRUE(is_loop));
    esx_read_settings(aTHX_ opening, esx_settings(aTHX_ settings));
    first = esx_octets(aTHX_ first);
    opening->interpreter = (uint32_t)SvUV(interpreter);
    opening->waits = opening->waits && !loop;
    opening->ends_with_handle = !loop;
    opening->may_wait = opening->may_wait && loop;
    opening->is_chunked = cBOOL(SvTRUE(is_chunked));
    opening->opening = SvPV_nomg_const(first, opening->opening_len);
}

/* Makes a scalar around a capture, which is still to be blessed, and a reference to it. The caller owns the reference. */
static SV *
esx_new_capture(pTHX_ void *capture)
{
    SV *object = newSV_type(SVt_PVMG);
    esx_handle_attach(aTHX_ object, &esx_capture_table)->mg_ptr = capture;
    return newRV_noinc(object);
}

/* Makes an object of a class around a handle: an array, which EventSource::XS::Stream::Native keeps callbacks in. It takes no
 * more memory than a scalar with magic. */
static SV *
esx_stream_object(pTHX_ HV *class, void *stream)
{
    SV *object = newSV_type(SVt_PVAV);
    esx_handle_attach(aTHX_ object, &esx_stream_table)->mg_ptr = stream;
    return sv_bless(sv_2mortal(newRV_noinc(object)), class);
}

/* Returns a string of bytes. Reading it may run any Perl code, so the caller looks up the stream afterwards. */
static SV *
esx_bytes(pTHX_ SV *bytes)
{
    if (esx_is_plain(bytes) && !SvUTF8(bytes))
        return bytes;
    bytes = esx_read(aTHX_ esx_keep_alive(aTHX_ bytes));
    if (!SvOK(bytes))
        esx_croakf(ESX_CODE_INVALID, "bytes",
            "EventSource::XS::Stream::Native: write takes a string of bytes, not undef");
    bytes = esx_string(aTHX_ bytes);
    if (!sv_utf8_downgrade(bytes, TRUE))
        esx_croakf(ESX_CODE_INVALID, "bytes",
            "EventSource::XS::Stream::Native: write takes bytes, this string holds a character above U+00FF");
    return bytes;
}

/* Lets perl handle signals inside a push. A handler that runs callbacks of ended streams finds the variable true, and leaves
 * them for later: callbacks never run inside a push. */
static void
esx_handle_signals(pTHX)
{
    if (PL_sig_pending) {
        ENTER;
        sv_setiv(save_scalar(gv_fetchpvs("EventSource::XS::is_pushing", GV_ADD, SVt_PV)), 1);
        PERL_ASYNC_CHECK();
        LEAVE;
    }
}

/* When a push of the running handler looks whether its worker is to end. 0 if no handler runs, or none that holds a worker. */
static time_t esx_look_at = 0;

/* Lets a handler that has run for long look whether its worker is to end, at most once a second. It dies then, which ends the
 * handler. Until a look is due, a push costs a comparison, in a handler also a clock that the kernel keeps in memory. */
static void
esx_look(pTHX)
{
    dSP;
    if (!esx_look_at || time(NULL) < esx_look_at)
        return;
    ENTER;
    SAVETMPS;
    PUSHMARK(SP);
    call_pv("EventSource::XS::Stream::HeldWorker::unwind", G_VOID | G_DISCARD | G_NOARGS);
    FREETMPS;
    LEAVE;
}

/* Runs queued callbacks if there are any, at the end of a hub's method. Its results are safe: the callbacks run in a scope of
 * their own. */
static void
esx_run_callbacks(pTHX)
{
    if (!esx_has_callbacks())
        return;
    {
        dSP;
        ENTER;
        SAVETMPS;
        PUSHMARK(SP);
        PUTBACK;
        call_pv("EventSource::XS::_run_callbacks", G_VOID | G_DISCARD | G_NOARGS);
        FREETMPS;
        LEAVE;
    }
}

/* Pushes bytes to a stream. A stream that may wait for its client waits in short intervals, between which perl handles
 * signals: a signal handler may run, and die, because no Rust frame is below it. A handler may also free or assign the
 * caller's variables, so from the first wait on this works on copies: of the stream, of the bytes, and of the object that
 * the caller uses afterwards. */
static bool
esx_stream_write(pTHX_ SV *self, SV *bytes, int has_id, SV **caller)
{
    bool is_copied = FALSE;
    for (;;) {
        STRLEN len;
        void *stream = esx_stream_of(aTHX_ self);
        const char *text = SvPV_nomg_const(bytes, len);
        const int pushed = esx_stream_push(stream, text, len, has_id);
        if (pushed != ESX_FULL)
            return pushed == ESX_TAKEN;
        if (!is_copied) {
            self = sv_2mortal(newSVsv(self));
            bytes = sv_2mortal(newSVpvn(text, len));
            *caller = sv_2mortal(newSVsv(*caller));
            is_copied = TRUE;
        }
        esx_stream_wait(stream, len, 20);
        esx_handle_signals(aTHX);
    }
}

/* Ends the effect of setting $| for a write. */
static void
esx_end_autoflush(pTHX_ void *io)
{
    IoFLAGS((IO *)io) &= ~IOf_FLUSH;
    SvREFCNT_dec((SV *)io);
}

/* Sets $| until the scope ends, as "local $| = 1" does: some writers keep what they are given until a flush. */
static void
esx_autoflush(pTHX)
{
    IO *io = PL_defoutgv && isGV_with_GP(PL_defoutgv) ? GvIOp(PL_defoutgv) : NULL;
    if (!io || IoFLAGS(io) & IOf_FLUSH)
        return;
    IoFLAGS(io) |= IOf_FLUSH;
    SvREFCNT_inc_simple_void_NN((SV *)io);
    SAVEDESTRUCTOR_X(esx_end_autoflush, io);
    if (IoOFP(io))
        (void)PerlIO_flush(IoOFP(io));
}

/* Returns a member of a request's environment, or undef if there is none. */
static SV *
esx_of_request(pTHX_ HV *request, const char *name)
{
    SV **value = hv_fetch(request, name, (I32)strlen(name), 0);
    return value ? *value : &PL_sv_undef;
}

static bool
esx_is_text(SV *sv, const char *text)
{
    return esx_is_plain(sv) && SvCUR(sv) == strlen(text) && memEQ(SvPVX_const(sv), text, SvCUR(sv));
}

/* The most bytes of headers that a response may have, as in EventSource::XS::Stream::Takeover. */
enum { ESX_HEAD_MAX = 32768 };

/* Returns the code and the text of an EventSource::XS::Stream::Obstacle from an XSUB, beginning at a place. Returns how many
 * results there are then. A panic has no code. */
static int
esx_set_obstacle(pTHX_ I32 ax, int at, const esx_report *report)
{
    SV **sp = PL_stack_base + ax - 1;
    EXTEND(sp, at + 2);
    ST(at) = report->field ? newSVpvn_flags(report->field, report->field_len, SVs_TEMP) : newSVpvs_flags("internal", SVs_TEMP);
    ST(at + 1) = sv_2mortal(newSVpv(report->message, 0));
    return at + 2;
}

/* Returns true for a response with plain headers that are not too large. */
static bool
esx_is_small_head(pTHX_ SV *response)
{
    AV *array = esx_plain_array(response), *headers;
    SV **second = array && !SvRMAGICAL(array) ? av_fetch(array, 1, 0) : NULL;
    size_t bytes = 0;
    SSize_t at;
    if (!second || SvGMAGICAL(*second) || !(headers = esx_plain_array(*second)) || SvRMAGICAL(headers))
        return FALSE;
    for (at = av_len(headers); at >= 0; at--) {
        SV **text = av_fetch(headers, at, 0);
        if (!text || !esx_is_plain(*text))
            return FALSE;
        bytes += 4 + SvCUR(*text);
    }
    return bytes <= ESX_HEAD_MAX;
}

/* Returns true if a set has the name of an object's class. */
static bool
esx_has_class(pTHX_ HV *sets, const char *name, HV *class)
{
    SV **set = hv_fetch(sets, name, (I32)strlen(name), 0);
    HV *hash = set ? esx_plain_hash(*set) : NULL;
    const char *text = class ? HvNAME_get(class) : NULL;
    return hash && text && hv_exists(hash, text, HvNAMEUTF8(class) ? -HvNAMELEN_get(class) : HvNAMELEN_get(class));
}

/* Returns the descriptor of psgix.io, or -1 if the request is one for the checks of EventSource::XS::Adapter::obstacle: one to
 * HEAD, or one with a handle of a class that has not passed them, or that is tied. Sets two members of the environment. */
static int
esx_plain_descriptor(pTHX_ HV *request, HV *known, SV **protocol, SV **is_loop)
{
    SV *method, **handle, *glob;
    IO *io;
    if (SvRMAGICAL(request))
        return -1;
    method = esx_of_request(aTHX_ request, "REQUEST_METHOD");
    *protocol = esx_of_request(aTHX_ request, "SERVER_PROTOCOL");
    *is_loop = esx_of_request(aTHX_ request, "psgi.nonblocking");
    if (SvGMAGICAL(method) || SvROK(method) || SvGMAGICAL(*protocol) || SvROK(*protocol) || SvGMAGICAL(*is_loop)
        || SvROK(*is_loop) || esx_is_text(method, "HEAD")) /* reading a reference could run Perl code */
        return -1;
    handle = hv_fetchs(request, "psgix.io", 0);
    if (!handle || SvGMAGICAL(*handle) || !SvROK(*handle))
        return -1;
    glob = SvRV(*handle);
    if (!isGV_with_GP(glob) || SvRMAGICAL(glob)
        || (SvOBJECT(glob) && !esx_has_class(aTHX_ known, "handles", SvSTASH(glob))))
        return -1;
    io = GvIO((GV *)glob);
    return io && !SvRMAGICAL((SV *)io) && IoIFP(io) ? PerlIO_fileno(IoIFP(io)) : -1;
}

/* Responds, and returns the writer. */
static SV *
esx_respond(pTHX_ SV *respond, SV *response)
{
    dSP;
    SV *writer = &PL_sv_undef;
    ENTER;
    PUSHMARK(SP);
    XPUSHs(response);
    PUTBACK;
    if (call_sv(respond, G_SCALAR) > 0) {
        SPAGAIN;
        writer = POPs;
        PUTBACK;
    }
    writer = sv_mortalcopy(writer);
    LEAVE;
    return writer;
}

/* Returns true if an object's class has this name. That is quicker than a look-up of the class, because perl forgets which
 * classes it has looked up whenever a handle is made, as a server does for each connection. */
static bool
esx_is_of_class(SV *object, const char *name)
{
    const char *class = SvOBJECT(object) ? HvNAME_get(SvSTASH(object)) : NULL;
    return class && strEQ(class, name);
}

/* Returns the code of a member of a writer that Plack::Util::inline_object has made, or NULL. */
static SV *
esx_inline_code(pTHX_ SV *writer, const char *name)
{
    HV *hash = (HV *)SvRV(writer);
    SV **code;
    if (SvTYPE(hash) != SVt_PVHV || SvRMAGICAL(hash) || !esx_is_of_class((SV *)hash, "Plack::Util::Prototype"))
        return NULL;
    code = hv_fetch(hash, name, (I32)strlen(name), 0);
    return code && !SvGMAGICAL(*code) && SvROK(*code) && SvTYPE(SvRV(*code)) == SVt_PVCV ? *code : NULL;
}

/* Returns true for the writer of a known server that writes at once, and whose adapter has nothing of its own to say about
 * the takeover. Sets the code that writes, if esx_inline_code has it. */
static bool
esx_is_plain_writer(pTHX_ SV *writer, HV *known, SV **write)
{
    if (!SvROK(writer) || !SvOBJECT(SvRV(writer)))
        return FALSE;
    *write = esx_inline_code(aTHX_ writer, "write");
    return *write ? esx_has_class(aTHX_ known, "packages", CvSTASH((CV *)SvRV(*write)))
                  : esx_has_class(aTHX_ known, "classes", SvSTASH(SvRV(writer)));
}

/* Calls a method of a writer that esx_is_plain_writer knows, or its code, with $| set. With G_EVAL an exception is dropped. */
static void
esx_call_writer(pTHX_ SV *writer, const char *method, SV *code, SV *argument, I32 flags)
{
    dSP;
    ENTER;
    if (flags & G_EVAL)
        save_scalar(PL_errgv);
    else
        esx_autoflush(aTHX);
    PUSHMARK(SP);
    EXTEND(SP, 2);
    if (!code)
        PUSHs(writer);
    if (argument)
        PUSHs(sv_mortalcopy(argument));
    PUTBACK;
    if (code)
        call_sv(code, G_VOID | G_DISCARD | flags);
    else
        call_method(method, G_VOID | G_DISCARD | flags);
    LEAVE;
}

/* Returns a plain member of a hash, or NULL if there is none or if reading it could run Perl code. */
static SV *
esx_member(pTHX_ HV *hash, const char *name)
{
    SV **value = hv_fetch(hash, name, (I32)strlen(name), 0);
    return value && SvOK(*value) && !SvGMAGICAL(*value) ? *value : NULL;
}

/* The elements of the member direct of an EventSource::XS::Stream::Writer, whose comment says when there is one. */
enum esx_direct { ESX_WRITER, ESX_SOCKET, ESX_EVENTS, ESX_WRITTEN_BYTES, ESX_IS_LF, ESX_DIRECT };

/* Returns that member of a stream, or NULL if it has none or if reading it could run Perl code. */
static AV *
esx_direct_of(pTHX_ SV *stream)
{
    SV *direct;
    if (!SvROK(stream) || SvTYPE(SvRV(stream)) != SVt_PVHV || SvRMAGICAL(SvRV(stream))
        || !esx_is_of_class(SvRV(stream), "EventSource::XS::Stream::Writer"))
        return NULL;
    direct = esx_member(aTHX_ (HV *)SvRV(stream), "direct");
    if (!direct || !SvROK(direct) || SvTYPE(SvRV(direct)) != SVt_PVAV || AvFILLp((AV *)SvRV(direct)) != ESX_DIRECT - 1)
        return NULL;
    return (AV *)SvRV(direct);
}

/* Returns true if the client of a stream on the server's writer is seen to be there, or if the server shows no socket. */
static bool
esx_client_is_there(pTHX_ SV *socket)
{
    IO *io;
    if (!SvOK(socket))
        return !SvGMAGICAL(socket);
    if (SvROK(socket))
        socket = SvRV(socket);
    io = isGV_with_GP(socket) && !SvRMAGICAL(socket) ? GvIO((GV *)socket) : NULL;
    return io && !SvRMAGICAL((SV *)io) && IoIFP(io) && !esx_is_hung_up(PerlIO_fileno(IoIFP(io)));
}

static void
esx_count(pTHX_ AV *direct, int which, UV more)
{
    SV *count = AvARRAY(direct)[which];
    if (SvROK(count))
        sv_setuv(SvRV(count), SvUV(SvRV(count)) + more);
}

/* Calls a server's writer. Its exceptions are left in $@. */
static void
esx_write_to(pTHX_ SV *writer, SV *bytes)
{
    SV *code = esx_inline_code(aTHX_ writer, "write"); /* the method of such an object calls it */
    GV *method = code ? NULL : gv_fetchmethod(SvSTASH(SvRV(writer)), "write");
    dSP;
    PUSHMARK(SP);
    EXTEND(SP, 2);
    if (!code)
        PUSHs(writer);
    PUSHs(bytes);
    PUTBACK;
    if (code || method)
        call_sv(code ? code : (SV *)GvCV(method), G_EVAL | G_VOID | G_DISCARD);
    else
        call_method("write", G_EVAL | G_VOID | G_DISCARD); /* dies as perl does */
}

/* The results of esx_writer_write. */
enum esx_written { ESX_NOT_TRIED, ESX_WRITTEN, ESX_DIED };

/* Hands an event to the server's writer, as EventSource::XS::Stream::Writer::write_to_server does, if nothing about the stream
 * is special: otherwise this does nothing, and that has to be called. The caller owns neither the bytes nor any reference to
 * them. An id is recorded, so that no position of a hub replaces it. An exception of the writer is put into *error. */
static int
esx_writer_write(pTHX_ HV *stream, AV *direct, SV *bytes, int has_id, SV **error)
{
    SV *writer = AvARRAY(direct)[ESX_WRITER], **quiet;
    const bool is_clear = SvPOK(ERRSV) && !SvCUR(ERRSV) && !SvROK(ERRSV) && !SvMAGICAL(ERRSV);
    const STRLEN written = SvCUR(bytes);
    bool has_died;

    if (PL_diehook || !SvROK(writer) || !SvOBJECT(SvRV(writer)) || !esx_client_is_there(aTHX_ AvARRAY(direct)[ESX_SOCKET]))
        return ESX_NOT_TRIED;
    quiet = hv_fetchs(stream, "quiet", 0);
    if (quiet)
        sv_setiv(*quiet, 0);
    if (has_id == ESX_ID_UNKNOWN)
        has_id = esx_has_id_line(SvPVX_const(bytes), written) ? ESX_HAS_ID : ESX_NO_ID;
    if (has_id != ESX_NO_ID && !hv_exists(stream, "has_pushed_id", 13))
        (void)hv_stores(stream, "has_pushed_id", newSViv(1));
    sv_2mortal(SvREFCNT_inc_simple_NN((SV *)direct)); /* the writer may end the stream */

    ENTER;
    if (!is_clear)
        save_scalar(PL_errgv); /* otherwise it is clear again after a write */
    esx_autoflush(aTHX);
    esx_write_to(aTHX_ writer, bytes);
    has_died = SvROK(ERRSV) || SvTRUE(ERRSV); /* since 5.14 nothing that is freed on the way clears it */
    if (has_died) {
        *error = sv_mortalcopy(ERRSV);
        if (is_clear)
            sv_setpvs(ERRSV, "");
    }
    LEAVE;
    if (has_died)
        return ESX_DIED;
    esx_count(aTHX_ direct, ESX_EVENTS, 1);
    esx_count(aTHX_ direct, ESX_WRITTEN_BYTES, written);
    return ESX_WRITTEN;
}

/* Returns the hash of a plain connection and sets the meaning of its strings. Returns NULL if the connection has a push_cb, or
 * if reading its members could run Perl code. */
static HV *
esx_plain_connection(pTHX_ SV *self, int *strings)
{
    HV *hash;
    SV **characters;
    if (SvGMAGICAL(self) || !SvROK(self) || SvTYPE(SvRV(self)) != SVt_PVHV || SvRMAGICAL(SvRV(self)))
        return NULL;
    hash = (HV *)SvRV(self);
    characters = hv_fetchs(hash, "characters", 0);
    if (hv_exists(hash, "push_cb", 7) || (characters && (SvGMAGICAL(*characters) || SvROK(*characters))))
        return NULL;
    *strings = characters && SvTRUE_nomg(*characters) ? ESX_CHARACTERS : ESX_EITHER;
    return hash;
}

/* Returns the stream in the hash of a connection, or NULL if there is none or if reading it could run Perl code. */
static SV *
esx_stream_in(pTHX_ HV *connection)
{
    SV *stream = connection ? esx_member(aTHX_ connection, "stream") : NULL;
    return stream && SvROK(stream) ? stream : NULL;
}

/* Returns the native stream of a plain connection, or NULL if it has none. */
static SV *
esx_native_stream(pTHX_ SV *self, int *strings)
{
    SV *stream = esx_stream_in(aTHX_ esx_plain_connection(aTHX_ self, strings));
    return stream && esx_handle_magic(aTHX_ stream, &esx_stream_table) ? stream : NULL;
}

/* Croaks if a measured block has an id that a stream with subscriptions must not be sent. */
static void
esx_check_ids(pTHX_ const esx_block *block)
{
    esx_report report;
    esx_check(aTHX_ esx_hub_check_ids(block->fields, block->len, &report), &report, "EventSource::Hub");
}

static bool
esx_block_has_id(const esx_block *block)
{
    size_t at;
    for (at = 0; at < block->len; at++)
        if (block->fields[at].name == ESX_ID)
            return TRUE;
    return FALSE;
}

/* Calls a sub with the first `items` arguments of the XSUB, in the context of the XSUB. The results replace the arguments
 * on the stack. Returns the number of results. */
static I32
esx_call_again(pTHX_ const char *sub, I32 ax, I32 items)
{
    dSP;
    I32 at, count;
    SP = PL_stack_base + ax + items - 1;
    PUSHMARK(SP);
    EXTEND(SP, items);
    for (at = 0; at < items; at++)
        PUSHs(PL_stack_base[ax + at]);
    PUTBACK;
    count = call_pv(sub, GIMME_V);
    SPAGAIN;
    for (at = 0; at < count; at++)
        PL_stack_base[ax + at] = SP[at - count + 1];
    return count;
}

static SV *
esx_stream_name_sv(pTHX_ uint64_t name)
{
    return Perl_newSVpvf(aTHX_ "%lu.%lu", (unsigned long)(name >> 32), (unsigned long)(name & 0xFFFFFFFF));
}

static SV *
esx_reason_sv(pTHX_ int number)
{
    const char *word;
    const size_t len = esx_reason((uint32_t)number, &word);
    return newSVpvn(word, len);
}

/* Returns the number of a reason's word, or -1. */
static int
esx_reason_of(pTHX_ SV *sv)
{
    STRLEN len;
    const char *text = SvPV_const(sv, len);
    int number;
    for (number = 0; number < ESX_REASONS; number++) {
        const char *word;
        if (esx_reason((uint32_t)number, &word) == len && memEQ(word, text, len))
            return number;
    }
    return -1;
}

/* Returns a system call's result: the number, or undef with $! set. */
static SV *
esx_result(pTHX_ int result)
{
    if (result >= 0)
        return newSViv(result);
    errno = -result;
    return newSV(0);
}

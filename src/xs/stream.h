/* Streams: objects with a stream handle behind them. handle.h describes such objects. */

ESX_HANDLE(relayed_client, esx_handle_forget)
ESX_HANDLE_OF(relayed_client, "EventSource::XS::RelayedClient: this is not a relay's client")

ESX_HANDLE(stream, esx_handle_forget)
ESX_HANDLE_OF(stream,
    "EventSource::XS::Stream::Native: this is not a stream; open one with EventSource::XS::Stream->open")

/* Returns the stash of a class that is given by its name. */
static HV *
esx_stash(pTHX_ SV *class)
{
    return gv_stashsv(esx_is_plain(class) ? class : esx_string(aTHX_ esx_read(aTHX_ class)), GV_ADD);
}

/* Returns a string of bytes. Croaks if it has a character above U+00FF. */
static SV *
esx_octets(pTHX_ SV *bytes)
{
    bytes = esx_string(aTHX_ esx_read(aTHX_ bytes));
    sv_utf8_downgrade(bytes, FALSE);
    return bytes;
}

/* Reads the settings of a new stream, as _settings has made them for all streams of an application, and the first bytes of its
 * body. */
static void
esx_read_opening(pTHX_ esx_opening *opening, SV *interpreter, SV *settings, SV *first, SV *is_loop, SV *is_chunked)
{
    const bool loop = cBOOL(SvTRUE(is_loop));
    HV *hash = esx_plain_hash(settings);
    SV **made = hash && !SvRMAGICAL(hash) ? hv_fetchs(hash, "made", 0) : NULL;
    if (!made || !esx_is_plain(*made) || SvCUR(*made) != sizeof *opening)
        esx_croakf(ESX_CODE_INVALID, NULL, "EventSource::XS: settings must be those of shared_settings");
    Copy(SvPVX_const(*made), opening, sizeof *opening, char);
    first = esx_octets(aTHX_ first);
    opening->interpreter = (uint32_t)SvUV(interpreter);
    opening->ends_with_handle = !loop;
    opening->may_wait = opening->may_wait && loop;
    opening->is_chunked = cBOOL(SvTRUE(is_chunked));
    opening->opening = SvPV_nomg_const(first, opening->opening_len);
}

/* Makes an object of a class around a handle: a scalar, whose value EventSource::XS::Stream::CloseCallbacks owns. */
static SV *
esx_stream_object(pTHX_ HV *class, void *stream)
{
    SV *object = newSV_type(SVt_PVMG);
    esx_handle_attach(aTHX_ object, &esx_stream_table)->mg_ptr = stream;
    return sv_bless(sv_2mortal(newRV_noinc(object)), class);
}

/* Keeps what a reference refers to in the magic of a stream: the callbacks, without a scalar of their own. What was kept before
 * is freed when the statement ends. */
static void
esx_stream_keep(pTHX_ SV *self, SV *reference)
{
    MAGIC *magic;
    esx_stream_of(aTHX_ self);
    magic = esx_handle_magic(aTHX_ self, &esx_stream_table);
    sv_2mortal(magic->mg_obj);
    magic->mg_obj = SvROK(reference) ? SvREFCNT_inc_simple_NN(SvRV(reference)) : NULL;
    magic->mg_flags |= MGf_REFCOUNTED;
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

/* Streams: objects with a stream handle behind them. handle.h describes such objects. */

ESX_HANDLE(stream)

static void *
esx_stream_of(pTHX_ SV *self)
{
    MAGIC *magic = esx_handle_magic(aTHX_ self, &esx_stream_table);
    if (!magic || !magic->mg_ptr)
        esx_croakf(ESX_CODE_INVALID, NULL,
            "EventSource::Stream::Native: this is no stream; open one with EventSource::Stream->open");
    return magic->mg_ptr;
}

/* Makes an object of a class around a handle. */
static SV *
esx_stream_object(pTHX_ HV *class, void *stream)
{
    SV *object = newSV_type(SVt_PVMG);
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
            "EventSource::Stream::Native: write takes a string of bytes, not undef");
    bytes = esx_string(aTHX_ bytes);
    if (!sv_utf8_downgrade(bytes, TRUE))
        esx_croakf(ESX_CODE_INVALID, "bytes",
            "EventSource::Stream::Native: write takes bytes, this string holds a character above U+00FF");
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
esx_stream_write(pTHX_ SV *self, SV *bytes, SV **caller)
{
    bool is_copied = FALSE;
    for (;;) {
        STRLEN len;
        void *stream = esx_stream_of(aTHX_ self);
        const char *text = SvPV_nomg_const(bytes, len);
        const int pushed = esx_stream_push(stream, text, len);
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

/* Returns the native stream of a plain connection and sets the meaning of its strings. Returns NULL if the connection has no
 * native stream or has a push_cb, or if reading its members could run Perl code. */
static SV *
esx_native_stream(pTHX_ SV *self, int *strings)
{
    HV *hash;
    SV **stream, **characters;
    if (SvGMAGICAL(self) || !SvROK(self) || SvTYPE(SvRV(self)) != SVt_PVHV || SvRMAGICAL(SvRV(self)))
        return NULL;
    hash = (HV *)SvRV(self);
    stream = hv_fetchs(hash, "stream", 0);
    if (!stream || SvGMAGICAL(*stream) || !esx_handle_magic(aTHX_ *stream, &esx_stream_table)
        || hv_exists(hash, "push_cb", 7))
        return NULL;
    characters = hv_fetchs(hash, "characters", 0);
    if (characters && (SvGMAGICAL(*characters) || SvROK(*characters)))
        return NULL;
    *strings = characters && SvTRUE_nomg(*characters) ? ESX_CHARACTERS : ESX_EITHER;
    return *stream;
}

/* Croaks if a measured block has an id that a stream with subscriptions must not be sent. */
static void
esx_check_ids(pTHX_ const esx_block *block)
{
    esx_report report;
    if (esx_hub_check_ids(block->fields, block->len, &report) != ESX_OK)
        esx_croak_report(aTHX_ &report, "EventSource::Hub", NULL);
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

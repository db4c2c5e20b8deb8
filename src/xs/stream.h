/* Streams: objects with a handle of the reactor's behind them, as handle.h has it for parsers. */

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

/* An object of a class around a handle. */
static SV *
esx_stream_object(pTHX_ HV *class, void *stream)
{
    SV *object = newSV_type(SVt_PVMG);
    esx_handle_attach(aTHX_ object, &esx_stream_table)->mg_ptr = stream;
    return sv_bless(sv_2mortal(newRV_noinc(object)), class);
}

/* A string of bytes, as it is. It may have to be read first, which may run any code: the stream is looked up afterwards. */
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

/* Hands bytes to a stream. Where the stream may wait for its client it does, in slices, so that signals have their say:
 * a handler of perl's may run, and die, when no Rust frame is below. It may also free or assign the caller's variables, so
 * from the first wait on copies are used: of the stream, of the bytes, and of the object that the caller goes on with. */
static bool
esx_stream_write(pTHX_ SV *self, SV *bytes, SV **caller)
{
    bool is_kept = FALSE;
    for (;;) {
        STRLEN len;
        void *stream = esx_stream_of(aTHX_ self);
        const char *text = SvPV_nomg_const(bytes, len);
        const int pushed = esx_stream_push(stream, text, len);
        if (pushed != ESX_FULL)
            return pushed == ESX_TAKEN;
        if (!is_kept) {
            self = sv_2mortal(newSVsv(self));
            bytes = sv_2mortal(newSVpvn(text, len));
            *caller = sv_2mortal(newSVsv(*caller));
            is_kept = TRUE;
        }
        esx_stream_wait(stream, len, 20);
        PERL_ASYNC_CHECK();
    }
}

/* The native stream that a plain connection stands on, and how its strings are taken; NULL if it is not as plain as that. */
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

/* Croaks if one of the ids of a block that was measured is not for a stream that follows a hub. */
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

/* Calls a sub with the first arguments that the XSUB was called with, in its context; what it returns takes their place. */
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

/* The number of a reason's word, or -1. */
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

/* A system call's result: undef with $! set, or the number. */
static SV *
esx_result(pTHX_ int result)
{
    if (result >= 0)
        return newSViv(result);
    errno = -result;
    return newSV(0);
}

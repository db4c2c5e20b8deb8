/* What the reactor has to do with the interpreter: callbacks, the look of a running handler, names and reasons of ends. */

/* When a push of the running handler looks whether its worker is to end. 0 if no handler runs, or none that holds a worker. */
static time_t esx_next_look = 0;

/* Lets a handler that has run for long look whether its worker is to end, at most once a second. It dies then, which ends the
 * handler. Until a look is due, a push costs a comparison, in a handler also a clock that the kernel keeps in memory. */
static void
esx_unwind_if_due(pTHX)
{
    dSP;
    if (!esx_next_look || time(NULL) < esx_next_look)
        return;
    ENTER;
    SAVETMPS;
    PUSHMARK(SP);
    call_pv("EventSource::XS::Stream::BusyWorker::unwind", G_VOID | G_DISCARD | G_NOARGS);
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

static SV *
esx_stream_name_sv(pTHX_ uint64_t name)
{
    return Perl_newSVpvf(aTHX_ "%lu.%lu", (unsigned long)(name >> 32), (unsigned long)(name & 0xFFFFFFFF));
}

static SV *
esx_reason_sv(pTHX_ int number)
{
    const esx_text word = esx_reason((uint32_t)number);
    return newSVpvn(word.text, word.len);
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

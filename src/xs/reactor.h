/* What the reactor has to do with the interpreter: callbacks, the look of a running handler, names and reasons of ends. */

/* Calls a sub of this distribution without arguments, in a scope of its own: what the caller has on the stack is safe. */
static void
esx_call_alone(pTHX_ const char *sub)
{
    dSP;
    ENTER;
    SAVETMPS;
    PUSHMARK(SP);
    PUTBACK;
    call_pv(sub, G_VOID | G_DISCARD | G_NOARGS);
    FREETMPS;
    LEAVE;
}

/* When a push of the running handler looks whether its worker is to end. 0 if no handler runs, or none that holds a worker. */
static time_t esx_next_look = 0;

/* Lets a handler that has run for long look whether its worker is to end, at most once a second. It dies then, which ends the
 * handler. Until a look is due, a push costs a comparison, in a handler also a clock that the kernel keeps in memory. */
static void
esx_unwind_if_due(pTHX)
{
    if (esx_next_look && time(NULL) >= esx_next_look)
        esx_call_alone(aTHX_ "EventSource::XS::Stream::BusyWorker::unwind");
}

/* Runs queued callbacks if there are any, at the end of a hub's method. */
static void
esx_run_callbacks(pTHX)
{
    if (esx_has_callbacks())
        esx_call_alone(aTHX_ "EventSource::XS::_run_callbacks");
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

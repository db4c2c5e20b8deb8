/* The writer of a server, and streams on it (EventSource::XS::Stream::Writer). */

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

/* Calls a method of a writer that esx_is_plain_writer knows, or its code, with $| set. With G_EVAL an exception is dropped. */
static void
esx_call_writer(pTHX_ SV *writer, const char *method, SV *code, SV *argument, I32 flags)
{
    dSP;
    ENTER;
    if (flags & G_EVAL) {
        save_scalar(PL_errgv);
        SAVESPTR(PL_diehook);
        PL_diehook = NULL;
    }
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
esx_add_count(pTHX_ AV *direct, int which, UV more)
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
 * them. An id is recorded, so that no position of a hub replaces it. An exception of the writer is put into *error.
 *
 * A push takes a third to a twelfth of the CPU time that it takes step by step, which is twice to six times that of the
 * original (bench/format). That is worth these hundred lines. */
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
    if (has_id != ESX_NO_ID && !hv_exists(stream, "has_pushed_id", 13))
        (void)hv_stores(stream, "has_pushed_id", newSViv(1));
    sv_2mortal(SvREFCNT_inc_simple_NN((SV *)direct)); /* the writer may end the stream */

    ENTER;
    if (!is_clear)
        save_scalar(PL_errgv); /* otherwise it is clear again after a write */
    SAVEINT(errno);
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
    esx_add_count(aTHX_ direct, ESX_EVENTS, 1);
    esx_add_count(aTHX_ direct, ESX_WRITTEN_BYTES, written);
    return ESX_WRITTEN;
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

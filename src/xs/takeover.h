/* Takeovers, and what a plain response is. */

/* Ends a takeover when its scope ends. Without a stream the server has its socket back then. */
static void
esx_end_takeover(pTHX_ void *takeover)
{
    PERL_UNUSED_CONTEXT;
    esx_takeover_drop(takeover);
}

/* Returns a member of a request's environment, or undef if there is none. */
static SV *
esx_request_member(pTHX_ HV *request, const char *name)
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

/* Returns undef from an XSUB, and the code and the text of an EventSource::XS::Stream::Obstacle: those of a report, whose panic
 * has no code, if none is given. Returns how many results there are. */
static int
esx_set_obstacle(pTHX_ I32 ax, const char *code, const esx_report *report)
{
    ST(0) = &PL_sv_undef;
    ST(1) = sv_2mortal(newSVpv(code ? code : *report->field ? report->field : "internal", 0));
    ST(2) = code ? &PL_sv_undef : sv_2mortal(newSVpv(report->message, 0));
    return 3;
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

/* Returns true if a request's environment has a member of this list. */
static bool
esx_has_member_of(pTHX_ HV *request, SV **list)
{
    AV *names = list ? esx_plain_array(*list) : NULL;
    SSize_t at;
    for (at = names ? av_len(names) : -1; at >= 0; at--) {
        SV **name = av_fetch(names, at, 0);
        if (name && hv_exists_ent(request, *name, 0))
            return TRUE;
    }
    return FALSE;
}

/* Returns true if a request may be that of a server that EventSource::XS::Adapter recognizes by the environment, or if it could
 * change what is noted of the server: the first request of a process, and one from several threads. */
static bool
esx_is_special_request(pTHX_ HV *request, HV *known, bool is_loop)
{
    SV *errors = esx_request_member(aTHX_ request, "psgi.errors");
    SV *threads = esx_request_member(aTHX_ request, "psgi.multithread");
    SV *processes = esx_request_member(aTHX_ request, "psgi.multiprocess");
    SV **noted = is_loop ? hv_fetchs(known, "noted_in_loop", 0) : hv_fetchs(known, "noted", 0);
    if (!noted || !SvIOK(*noted) || SvUV(*noted) != esx_generation())
        return TRUE;
    if (SvGMAGICAL(threads) || SvROK(threads) || SvTRUE_nomg(threads) || SvGMAGICAL(processes) || SvROK(processes)
        || (SvTRUE_nomg(processes) && !hv_exists(known, "is_multiprocess", 15)))
        return TRUE;
    if (SvGMAGICAL(errors) || (SvROK(errors) && SvOBJECT(SvRV(errors))
        && esx_has_class(aTHX_ known, "errors", SvSTASH(SvRV(errors)))))
        return TRUE;
    return esx_has_member_of(aTHX_ request, hv_fetchs(known, "keys", 0));
}

/* Returns the descriptor of psgix.io, or -1 if the request is one for the checks of EventSource::XS::Adapter: one to HEAD, one
 * with a handle of a class that has not passed them, or that is tied, or one that may be of another server. Sets whether the
 * client takes chunks, and psgi.nonblocking. */
static int
esx_plain_descriptor(pTHX_ HV *request, HV *known, bool *takes_chunks, SV **is_loop)
{
    SV *method, *protocol, **handle, *glob;
    IO *io;
    if (SvRMAGICAL(request))
        return -1;
    method = esx_request_member(aTHX_ request, "REQUEST_METHOD");
    protocol = esx_request_member(aTHX_ request, "SERVER_PROTOCOL");
    *takes_chunks = esx_is_text(protocol, "HTTP/1.1");
    *is_loop = esx_request_member(aTHX_ request, "psgi.nonblocking");
    if (SvGMAGICAL(method) || SvROK(method) || SvGMAGICAL(protocol) || SvROK(protocol) || SvGMAGICAL(*is_loop)
        || SvROK(*is_loop) || esx_is_text(method, "HEAD") /* reading a reference could run Perl code */
        || esx_is_special_request(aTHX_ request, known, cBOOL(SvTRUE_nomg(*is_loop))))
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

/* Returns true for the writer of any other known server, and reads whether the client takes chunks: examine_writer of
 * EventSource::XS::Stream::Takeover. */
static bool
esx_examine_writer(pTHX_ SV *writer, SV *env, SV *adapter, esx_opening *opening)
{
    SV *arguments[] = {writer, env, adapter ? adapter : &PL_sv_undef};
    SV *takes_chunks = esx_call(aTHX_ "EventSource::XS::Stream::Takeover::examine_writer", 3, arguments);
    opening->is_chunked = cBOOL(SvTRUE(takes_chunks));
    return cBOOL(SvOK(takes_chunks));
}

/* Lets the server's adapter end the connection for further requests: the member end_keep_alive, if there is one, has its code
 * and the first two arguments. Its exceptions are dropped, and a handler of them is not called. */
static void
esx_end_keep_alive(pTHX_ HV *known, SV *env)
{
    SV **member = hv_fetchs(known, "end_keep_alive", 0), **code, **adapter, **server;
    AV *parts = member ? esx_plain_array(*member) : NULL;
    dSP;
    if (!parts || av_len(parts) != 2)
        return;
    code = av_fetch(parts, 0, 0);
    adapter = av_fetch(parts, 1, 0);
    server = av_fetch(parts, 2, 0);
    if (!code || !adapter || !server || !SvROK(*code) || !SvROK(*server))
        return;
    ENTER;
    SAVETMPS;
    save_scalar(PL_errgv);
    SAVESPTR(PL_diehook);
    PL_diehook = NULL;
    PUSHMARK(SP);
    EXTEND(SP, 3);
    PUSHs(*adapter);
    PUSHs(sv_mortalcopy(*server));
    PUSHs(env);
    PUTBACK;
    call_sv(*code, G_VOID | G_DISCARD | G_EVAL);
    FREETMPS;
    LEAVE;
}

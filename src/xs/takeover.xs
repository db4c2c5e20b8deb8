# The takeover of a response. EventSource::XS::Stream::Takeover describes it.

MODULE = EventSource::XS    PACKAGE = EventSource::XS::Stream::Native

# Responds, and takes the response over. Without a descriptor, that of psgix.io is used if nothing about the request is special,
# and the server is told that the connection is not kept; otherwise an adapter has given it. Returns nothing if something is
# special; the stream; or undef, the code and the text of the obstacle, and the writer if the server has responded.
void
_begin(SV *env, SV *respond, SV *response, SV *first, SV *settings, SV *interpreter, SV *known, SV *descriptor = NULL, \
    SV *adapter = NULL, SV *is_loop = NULL)
  PREINIT:
    esx_opening opening;
    esx_report report;
    HV *request, *writers, *hash;
    SV *writer, *write = NULL, *probe;
    const char *why = NULL;
    void *takeover, *stream = NULL;
    int number, results;
    bool is_known, takes_chunks = FALSE;
  PPCODE:
    if (descriptor)
        esx_keep_args_alive(aTHX_ ax, 0, items);
    request = esx_plain_hash(env);
    writers = esx_plain_hash(known);
    hash = esx_plain_hash(settings);
    probe = hash ? esx_request_member(aTHX_ hash, "probe") : NULL;
    if (!writers || !probe || !esx_is_plain(probe))
        XSRETURN(0);
    if (descriptor)
        number = (int)SvIV(descriptor);
    else if (!request || !esx_is_plain(first) || !esx_is_small_head(aTHX_ response)
        || !SvROK(respond) || SvTYPE(SvRV(respond)) != SVt_PVCV
        || (number = esx_plain_descriptor(aTHX_ request, writers, &takes_chunks, &is_loop)) < 0)
        XSRETURN(0);
    esx_read_opening(aTHX_ &opening, interpreter, settings, first, is_loop, boolSV(takes_chunks));
    opening.socket = -1;
    takeover = esx_takeover_begin(number, !descriptor, &report);
    if (!takeover)
        XSRETURN(esx_set_obstacle(aTHX_ ax, NULL, &report));
    /* From here on Perl code runs, and may die. That undoes the takeover, as every end without a stream does. */
    ENTER;
    SAVEDESTRUCTOR_X(esx_end_takeover, takeover);
    writer = sv_mortalcopy(esx_call_code(aTHX_ respond, 1, &response));
    is_known = !descriptor && esx_is_plain_writer(aTHX_ writer, writers, &write);
    if (!is_known)
        is_known = esx_examine_writer(aTHX_ writer, env, adapter, &opening);
    if (esx_takeover_has_head(takeover) <= 0)
        why = "head";
    else if (!is_known)
        why = "writer";
    else {
        if (!write) { /* a method, which other code may have wrapped; the code of an inline object is the server's own */
            esx_call_writer(aTHX_ writer, "write", NULL, probe, 0);
            opening.head = SvPVX_const(probe);
            opening.head_len = SvCUR(probe);
        }
        stream = esx_takeover_open(takeover, &opening, &report);
    }
    if (stream) {
        ST(0) = esx_stream_object(aTHX_ GvSTASH(CvGV(cv)), stream);
        esx_call_writer(aTHX_ writer, "close", esx_inline_code(aTHX_ writer, "close"), NULL, G_EVAL);
        if (!descriptor && opening.ends_with_handle)
            esx_end_keep_alive(aTHX_ writers, env);
        results = 1;
    }
    else {
        results = esx_set_obstacle(aTHX_ ax, why, &report);
        ST(results++) = writer;
    }
    LEAVE;
    XSRETURN(results);

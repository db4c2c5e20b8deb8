# The takeover of a response. EventSource::XS::Stream::Takeover describes it.

MODULE = EventSource::XS    PACKAGE = EventSource::XS::Stream::Takeover

void
_capture(SV *class, SV *number)
  PREINIT:
    esx_report report;
    HV *stash;
    void *takeover;
    int descriptor;
  PPCODE:
    esx_keep_args_alive(aTHX_ ax, 0, items);
    descriptor = (int)SvIV(number);
    stash = esx_stash(aTHX_ class);
    takeover = esx_takeover_begin(descriptor, FALSE, &report);
    if (!takeover) {
        ST(0) = &PL_sv_undef;
        XSRETURN(esx_set_obstacle(aTHX_ ax, 1, &report));
    }
    ST(0) = sv_bless(sv_2mortal(esx_new_takeover(aTHX_ takeover)), stash);
    XSRETURN(1);

bool
_has_head(SV *self)
  CODE:
    RETVAL = esx_takeover_has_head(esx_takeover_of(aTHX_ self)) > 0;
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
    stream = esx_takeover_open(esx_takeover_of(aTHX_ self), &opening, &report);
    if (!stream) {
        ST(0) = &PL_sv_undef;
        XSRETURN(esx_set_obstacle(aTHX_ ax, 1, &report));
    }
    ST(0) = esx_stream_object(aTHX_ stash, stream);
    XSRETURN(1);

void
_restore(SV *self)
  CODE:
    esx_takeover_restore(esx_takeover_of(aTHX_ self));

MODULE = EventSource::XS    PACKAGE = EventSource::XS::Stream::Native

# The takeover in one call, as EventSource::XS::Stream::Takeover::begin makes it step by step, if nothing about the request is
# special; with what Stream::open does before and after it for each request. Returns nothing if something is special; the
# stream; or undef, the takeover, the writer, and the obstacle's code and text if the stream was refused. The takeover is undef if
# it could not begin.
void
_begin_plainly(SV *env, SV *respond, SV *response, SV *first, SV *settings, SV *interpreter, SV *known)
  PREINIT:
    esx_opening opening;
    esx_report report;
    HV *request, *writers, *hash;
    SV *takeover, *writer, *write, *protocol, *is_loop, *probe;
    void *stream;
    int number, results;
  PPCODE:
    request = esx_plain_hash(env);
    writers = esx_plain_hash(known);
    hash = esx_plain_hash(settings);
    probe = hash ? esx_request_member(aTHX_ hash, "probe") : NULL;
    if (!request || !writers || !probe || !esx_is_plain(probe) || !esx_is_plain(first) || !esx_is_small_head(aTHX_ response)
        || !SvROK(respond) || SvTYPE(SvRV(respond)) != SVt_PVCV
        || (number = esx_plain_descriptor(aTHX_ request, writers, &protocol, &is_loop)) < 0)
        XSRETURN(0);
    esx_read_opening(aTHX_ &opening, interpreter, settings, first, is_loop, boolSV(esx_is_text(protocol, "HTTP/1.1")));
    opening.socket = -1;
    stream = esx_takeover_begin(number, TRUE, &report);
    if (!stream) {
        ST(0) = ST(1) = ST(2) = &PL_sv_undef;
        XSRETURN(esx_set_obstacle(aTHX_ ax, 3, &report));
    }
    /* From here on Perl code runs, and may die. That frees the object, which undoes the takeover. */
    ENTER;
    takeover = esx_new_takeover(aTHX_ stream);
    SAVEFREESV(takeover);
    writer = esx_respond(aTHX_ respond, response);
    results = 3;
    stream = NULL;
    if (esx_is_plain_writer(aTHX_ writer, writers, &write) && esx_takeover_has_head(esx_takeover_of(aTHX_ takeover)) > 0) {
        if (!write) { /* a method, which other code may have wrapped; the code of an inline object is the server's own */
            esx_call_writer(aTHX_ writer, "write", NULL, probe, 0);
            opening.head = SvPVX_const(probe);
            opening.head_len = SvCUR(probe);
        }
        stream = esx_takeover_open(esx_takeover_of(aTHX_ takeover), &opening, &report);
        results = 4;
    }
    if (stream) {
        ST(0) = esx_stream_object(aTHX_ GvSTASH(CvGV(cv)), stream);
        esx_call_writer(aTHX_ writer, "close", esx_inline_code(aTHX_ writer, "close"), NULL, G_EVAL);
        if (opening.ends_with_handle)
            esx_end_keep_alive(aTHX_ writers, env);
        results = 1;
    }
    else {
        ST(0) = &PL_sv_undef;
        ST(1) = sv_bless(sv_2mortal(SvREFCNT_inc_simple_NN(takeover)), gv_stashpvs("EventSource::XS::Stream::Takeover", GV_ADD));
        ST(2) = writer;
        if (results > 3)
            results = esx_set_obstacle(aTHX_ ax, 3, &report);
    }
    LEAVE;
    XSRETURN(results);

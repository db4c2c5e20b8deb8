# A push to a connection, whose stream is native or on the server's writer.

MODULE = EventSource::XS    PACKAGE = Plack::App::EventSource::Connection

void
push(SV *self, ...)
  PREINIT:
    esx_block block;
    SV *stream, *bytes, *error;
    AV *direct;
    void *native;
    int strings, ignored, line_end, has_id, written = ESX_NOT_TRIED;
    dXSTARG;
  PPCODE:
    esx_unwind_if_due(aTHX);
    stream = esx_stream_to_push(aTHX_ self, &strings, &direct);
    if (!stream)
        XSRETURN(esx_call_again(aTHX_ "Plack::App::EventSource::Connection::_push_otherwise", ax, items));
    esx_block_init(aTHX_ &block, ax, items, TRUE);
    esx_snapshot_push(aTHX_ &block, strings);
    self = ST(0);
    if (block.is_detached) /* Perl code may have replaced the stream while the arguments were read */
        stream = esx_stream_to_push(aTHX_ self, &ignored, &direct);
    native = stream && !direct ? esx_stream_of(aTHX_ stream) : NULL;
    line_end = native ? esx_stream_line_end(native)
        : direct && SvTRUE_nomg(AvARRAY(direct)[ESX_IS_LF]) ? ESX_LF
        : ESX_CRLF;
    bytes = esx_block_encode(aTHX_ &block, direct ? NULL : TARG, strings, line_end, NULL); /* a writer may keep it */
    has_id = esx_block_has_id(&block) ? ESX_HAS_ID : ESX_NO_ID;
    if (native) {
        if (has_id && esx_stream_is_subscribed(native))
            esx_check_ids(aTHX_ &block);
        if (esx_stream_write(aTHX_ stream, bytes, has_id, &self))
            XSRETURN_YES;
        PL_stack_base[ax] = self;
        XSRETURN(esx_call_again(aTHX_ "Plack::App::EventSource::Connection::_not_taken", ax, 1));
    }
    if (direct) {
        SV *kept[] = {SvRV(self), SvRV(stream)}; /* the writer may release both */
        sv_2mortal(SvREFCNT_inc_simple_NN(kept[0]));
        sv_2mortal(SvREFCNT_inc_simple_NN(kept[1]));
        written = esx_writer_write(aTHX_ (HV *)kept[1], direct, bytes, has_id, &error);
        if (written == ESX_WRITTEN)
            XSRETURN_YES;
        self = sv_2mortal(newRV_inc(kept[0]));
        stream = sv_2mortal(newRV_inc(kept[1]));
    }
    EXTEND(SP, 3);
    ST(0) = self;
    if (written == ESX_DIED) {
        ST(1) = stream;
        ST(2) = error;
        XSRETURN(esx_call_again(aTHX_ "Plack::App::EventSource::Connection::_writer_died", ax, 3));
    }
    ST(1) = bytes;
    XSRETURN(esx_call_again(aTHX_ "Plack::App::EventSource::Connection::_write", ax, 2));

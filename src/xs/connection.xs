# A push to a connection, whose stream is native or on the server's writer.

MODULE = EventSource::XS    PACKAGE = Plack::App::EventSource::Connection

void
push(SV *self, ...)
  PREINIT:
    esx_block block;
    SV *stream, *bytes;
    AV *direct;
    int strings, ignored, copies, line_end, has_id;
    dXSTARG;
  PPCODE:
    esx_unwind_if_due(aTHX);
    stream = esx_stream_in(aTHX_ esx_plain_connection(aTHX_ self, &strings));
    if (stream && !esx_handle_magic(aTHX_ stream, &esx_stream_table)) {
        direct = esx_is_debugging ? NULL : esx_direct_of(aTHX_ stream);
        if (direct && esx_snapshot_push(aTHX_ &block, 0, ax, items, strings)) {
            SV *error, *kept[] = {SvRV(self), SvRV(stream)}; /* the writer may release both */
            line_end = SvTRUE_nomg(AvARRAY(direct)[ESX_IS_LF]) ? ESX_LF : ESX_CRLF;
            has_id = esx_block_has_id(&block) ? ESX_HAS_ID : ESX_NO_ID;
            bytes = esx_block_encode(aTHX_ &block, NULL, strings, line_end, NULL); /* the writer may keep it */
            sv_2mortal(SvREFCNT_inc_simple_NN(kept[0]));
            sv_2mortal(SvREFCNT_inc_simple_NN(kept[1]));
            switch (esx_writer_write(aTHX_ (HV *)kept[1], direct, bytes, has_id, &error)) {
            case ESX_WRITTEN:
                XSRETURN_YES;
            case ESX_DIED:
                EXTEND(SP, 3);
                ST(0) = sv_2mortal(newRV_inc(kept[0]));
                ST(1) = sv_2mortal(newRV_inc(kept[1]));
                ST(2) = error;
                XSRETURN(esx_call_again(aTHX_ "Plack::App::EventSource::Connection::_writer_died", ax, 3));
            }
        }
        stream = NULL;
    }
    if (!stream) {
        const I32 count = esx_call_again(aTHX_ "Plack::App::EventSource::Connection::_push_otherwise", ax, items);
        XSRETURN(count);
    }
    for (copies = esx_is_debugging; copies < 2; copies++) {
        if (copies)
            self = esx_snapshot(aTHX_ self);
        if (esx_snapshot_push(aTHX_ &block, copies, ax, items, strings))
            break;
    }
    if (copies) /* Perl code may have replaced the stream while the arguments were read */
        stream = esx_native_stream(aTHX_ self, &ignored);
    line_end = stream ? esx_stream_line_end(esx_stream_of(aTHX_ stream)) : ESX_CRLF;
    bytes = esx_block_encode(aTHX_ &block, TARG, strings, line_end, NULL);
    has_id = esx_block_has_id(&block) ? ESX_HAS_ID : ESX_NO_ID;
    if (stream && has_id && esx_stream_is_subscribed(esx_stream_of(aTHX_ stream)))
        esx_check_ids(aTHX_ &block);
    if (stream && esx_stream_write(aTHX_ stream, bytes, has_id, &self))
        XSRETURN_YES;
    PL_stack_base[ax] = self;
    XSRETURN(esx_call_again(aTHX_ "Plack::App::EventSource::Connection::_not_taken", ax, 1));

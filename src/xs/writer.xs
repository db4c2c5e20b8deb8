# A write to a stream on the server's writer.

MODULE = EventSource::XS    PACKAGE = EventSource::XS::Stream::Writer

void
write(SV *self, SV *bytes)
  PREINIT:
    SV *error;
    AV *direct;
    int written;
  PPCODE:
    direct = SvGMAGICAL(self) || !esx_is_plain(bytes) ? NULL : esx_direct_of(aTHX_ self);
    written = ESX_NOT_TRIED;
    if (direct) {
        self = sv_2mortal(newRV_inc(SvRV(self))); /* the writer may release it */
        written = esx_writer_write(aTHX_ (HV *)SvRV(self), direct, sv_mortalcopy(bytes), ESX_ID_UNKNOWN, &error);
    }
    if (written == ESX_WRITTEN)
        XSRETURN_YES;
    if (written == ESX_NOT_TRIED)
        XSRETURN(esx_call_again(aTHX_ "EventSource::XS::Stream::Writer::_write_otherwise", ax, 2));
    ST(0) = self;
    ST(1) = error;
    XSRETURN(esx_call_again(aTHX_ "EventSource::XS::Stream::Writer::writer_died", ax, 2));

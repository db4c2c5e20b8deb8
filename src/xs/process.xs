# Connections to the hub processes. process.rs is behind them.

MODULE = EventSource::XS    PACKAGE = EventSource::Hub::Process

void
_connect(SV *self, ...)
  PREINIT:
    const esx_text *given;
    esx_report report;
    MAGIC *magic;
  CODE:
    PERL_UNUSED_VAR(self);
    given = esx_texts_of(aTHX_ ax, 1, items);
    magic = esx_handle_new(aTHX_ ST(0), &esx_process_table, "EventSource::Hub::Process", "connection");
    magic->mg_ptr = esx_process_connect(given, (size_t)items - 1, &report);
    if (!magic->mg_ptr)
        esx_croak_report(aTHX_ &report, "EventSource::Hub::Process", NULL);

# Of the class, calls that need no connection.
void
_call(SV *self, ...)
  PREINIT:
    const esx_text *given;
    esx_report report;
    void *process;
  PPCODE:
    PERL_UNUSED_VAR(self);
    given = esx_texts_of(aTHX_ ax, 1, items);
    process = SvROK(ST(0)) ? esx_process_of(aTHX_ ST(0)) : NULL;
    esx_return_answer(aTHX_ ax, esx_process_call(process, given, (size_t)items - 1, &report), &report,
        "EventSource::Hub::Process");
    SPAGAIN;

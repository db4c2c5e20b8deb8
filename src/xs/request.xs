# Reads the head of a request by the rules that a worker and a hub process share (src/request).

MODULE = EventSource::XS    PACKAGE = EventSource::XS::Request

# Calls by name, with texts: request.rs.
void
_call(SV *class, ...)
  PREINIT:
    const esx_text *given;
    esx_report report;
    size_t at;
  PPCODE:
    PERL_UNUSED_VAR(class);
    given = esx_texts_of(aTHX_ ax, 1, items);
    esx_return_answer(aTHX_ ax, esx_request_call(given, (size_t)items - 1, &report), &report, "EventSource::Hub");
    for (at = 0; at < report.size; at++)
        SvTAINT(ST(at)); /* a client has sent it */
    SPAGAIN;

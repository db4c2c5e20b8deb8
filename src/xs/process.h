/* Connections to the hub processes: objects with a Rust value behind them. handle.h describes such objects. */

ESX_HANDLE(process)
ESX_HANDLE_OF(process, ESX_CODE_STATE,
    "EventSource::Hub::Process: this thread has no such connection; make one with EventSource::Hub::Process->connect")

/* Reads each of the arguments after the first once, and returns pointers to them, in the buffer of a mortal. An undefined one
 * has no text. */
static esx_text *
esx_process_texts(pTHX_ I32 ax, I32 items)
{
    SV *buffer = sv_2mortal(newSV((size_t)(items + 1) * sizeof(esx_text)));
    esx_text *texts = (esx_text *)SvPVX(buffer);
    AV *read = (AV *)sv_2mortal((SV *)newAV());
    I32 at;
    esx_keep_args_alive(aTHX_ ax, 0, items);
    for (at = 1; at < items; at++) {
        SV *text = esx_read(aTHX_ ST(at));
        if (SvOK(text))
            text = esx_string(aTHX_ text);
        av_push(read, SvREFCNT_inc_simple_NN(text));
    }
    for (at = 1; at < items; at++) {
        static const esx_text undefined = {NULL, 0};
        SV *text = AvARRAY(read)[at - 1];
        texts[at - 1] = SvOK(text) ? esx_text_of(aTHX_ text) : undefined;
    }
    return texts;
}

/* Connections to the hub processes: objects with a Rust value behind them. handle.h describes such objects. */

ESX_HANDLE(process)

static void *
esx_process_of(pTHX_ SV *self)
{
    MAGIC *magic = esx_handle_magic(aTHX_ self, &esx_process_table);
    if (!magic || !magic->mg_ptr)
        esx_croakf(ESX_CODE_STATE, NULL,
            "EventSource::Hub::Process: this thread has no such connection; make one with EventSource::Hub::Process->connect");
    return magic->mg_ptr;
}

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
        SV *text = AvARRAY(read)[at - 1];
        texts[at - 1].text = NULL;
        texts[at - 1].len = 0;
        if (SvOK(text))
            texts[at - 1] = esx_text_of(aTHX_ text);
    }
    return texts;
}

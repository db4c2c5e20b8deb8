/* Calls with texts: the arguments of an XSUB, and what it answers. text.rs is behind them. */

/* Returns a string's characters as UTF-8. Runs no Perl code if the string is plain. */
static esx_text
esx_text_as(pTHX_ SV *sv, bool is_name)
{
    esx_text text;
    STRLEN len;
    text.text = SvPV_nomg_const(sv, len);
    if (!SvUTF8(sv) && !is_ascii_string((const U8 *)text.text, len) && !(is_name && esx_is_name_in_bytes(sv))) {
        sv = newSVpvn_flags(text.text, len, SVs_TEMP);
        sv_utf8_upgrade(sv);
        text.text = SvPV_nomg_const(sv, len);
    }
    text.len = len;
    return text;
}

#define esx_text_of(sv) esx_text_as(sv, FALSE)
#define esx_name_of(sv) esx_text_as(sv, TRUE)

/* Snapshots the arguments of an XSUB from a place on. Most are plain strings, which are used as they are, or numbers, whose
 * digits are copied: then no Perl code runs. Otherwise each is read once and copied. */
static void
esx_snapshot_values(pTHX_ I32 ax, I32 from, I32 items)
{
    bool is_plain = TRUE;
    I32 at;
    for (at = from; at < items; at++)
        if (SvFLAGS(PL_stack_base[ax + at]) & (SVs_GMG | SVf_ROK))
            is_plain = FALSE;
    if (!is_plain)
        esx_keep_args_alive(aTHX_ ax, from, items);
    for (at = from; at < items; at++) {
        SV *sv = PL_stack_base[ax + at];
        if (is_plain && esx_is_plain(sv))
            continue;
        sv = esx_read(aTHX_ sv);
        PL_stack_base[ax + at] = SvOK(sv) ? esx_string(aTHX_ sv) : &PL_sv_undef;
    }
}

/* Snapshots the arguments of an XSUB: the objects, and the texts from a place on. Returns the characters of these, in the
 * buffer of a mortal. An undefined one has no text. */
static const esx_text *
esx_texts_of(pTHX_ I32 ax, I32 from, I32 items)
{
    SV *buffer = sv_2mortal(newSV((size_t)(items + 1) * sizeof(esx_text)));
    esx_text *texts = (esx_text *)SvPVX(buffer);
    I32 at;
    for (at = 0; at < from; at++)
        if (SvGMAGICAL(PL_stack_base[ax + at]))
            esx_keep_args_alive(aTHX_ ax, 0, items);
    for (at = 0; at < from; at++)
        PL_stack_base[ax + at] = esx_snapshot(aTHX_ PL_stack_base[ax + at]);
    esx_snapshot_values(aTHX_ ax, from, items);
    for (at = from; at < items; at++) {
        static const esx_text undefined = {NULL, 0};
        SV *text = PL_stack_base[ax + at];
        texts[at - from] = SvOK(text) ? esx_text_of(aTHX_ text) : undefined;
    }
    return texts;
}

/* Puts the texts of an answer in the place of an XSUB's arguments, and frees it. Dies with the error that Rust reports if there
 * is none. Perl code may have moved the stack since the XSUB began. */
static void
esx_return_answer(pTHX_ I32 ax, void *answer, const esx_report *report, const char *module)
{
    SV **sp = PL_stack_base + ax - 1;
    size_t at;
    if (!answer)
        esx_croak_report(aTHX_ report, module, NULL);
    EXTEND(SP, (SSize_t)report->size);
    for (at = 0; at < report->size; at++) {
        const esx_text text = esx_answer_at(answer, at);
        SV *sv = newSVpvn_flags(text.text, text.len, SVs_TEMP);
        if (report->utf8)
            (void)sv_utf8_decode(sv);
        PUSHs(sv);
    }
    esx_answer_drop(answer);
    PUTBACK;
}

/* What the head of a request says: bytes, for the functions of src/request. */

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

/* Returns the bytes of a value of a snapshot, without text if it is undefined. Characters that are not bytes are encoded as
 * UTF-8. Runs no Perl code. */
static esx_text
esx_octets_of(pTHX_ SV *sv)
{
    esx_text octets = {NULL, 0};
    STRLEN len;
    if (!SvOK(sv))
        return octets;
    octets.text = SvPV_nomg_const(sv, len);
    if (SvUTF8(sv) && !is_ascii_string((const U8 *)octets.text, len)) {
        SV *bytes = newSVpvn_flags(octets.text, len, SVs_TEMP | SVf_UTF8);
        (void)sv_utf8_downgrade(bytes, TRUE);
        octets.text = SvPV_nomg_const(bytes, len);
    }
    octets.len = len;
    return octets;
}

/* Returns the bytes of values, in the buffer of a mortal. */
static esx_text *
esx_all_octets_of(pTHX_ SV **values, size_t len)
{
    SV *buffer = sv_2mortal(newSV((len + 1) * sizeof(esx_text)));
    esx_text *octets = (esx_text *)SvPVX(buffer);
    size_t at;
    for (at = 0; at < len; at++)
        octets[at] = esx_octets_of(aTHX_ values[at]);
    return octets;
}

/* Returns the bytes of the names in an array, in the buffer of a mortal; NULL if it is not an array. Runs the Perl code of the
 * names, once. */
static const esx_text *
esx_names_of(pTHX_ SV *given, size_t *len)
{
    AV *array = esx_plain_array(esx_read(aTHX_ given));
    AV *read = (AV *)sv_2mortal((SV *)newAV());
    SSize_t at;
    *len = 0;
    if (!array)
        return NULL;
    esx_keep_alive(aTHX_ (SV *)array);
    for (at = 0; at <= av_len(array); at++) {
        SV **element = av_fetch(array, at, 0);
        SV *name = esx_string(aTHX_ esx_read(aTHX_ element ? *element : &PL_sv_no));
        av_push(read, SvREFCNT_inc_simple_NN(name));
    }
    *len = (size_t)(av_len(read) + 1);
    return esx_all_octets_of(aTHX_ AvARRAY(read), *len);
}

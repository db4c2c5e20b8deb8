# What a Perl value is, found without running code of its own. See snapshot.h.

MODULE = EventSource::XS    PACKAGE = EventSource::XS

# True if reading the value behind a reference runs magic. Does not run it.
bool
_has_get_magic(SV *reference)
  CODE:
    RETVAL = SvROK(reference) && SvGMAGICAL(SvRV(reference));
  OUTPUT:
    RETVAL

# The package in which a sub is compiled. The argument is a reference to code.
SV *
_package_of(SV *code)
  PREINIT:
    HV *package;
  CODE:
    package = SvROK(code) && SvTYPE(SvRV(code)) == SVt_PVCV ? CvSTASH((CV *)SvRV(code)) : NULL;
    RETVAL = package && HvNAME_HEK(package) ? newSVhek(HvNAME_HEK(package)) : newSVpvs("");
  OUTPUT:
    RETVAL

# What an object that is a hash keeps in its member _beginning: a hash that was made when the object had the class and the values
# of these members that it has in it, class and members. Returns undef if there is none, or if something has changed.
SV *
_kept_beginning(SV *object, SV *names)
  PREINIT:
    HV *hash, *kept;
    AV *keys, *values;
    SV **beginning, **class, **members;
    const char *name;
    SSize_t at;
  CODE:
    hash = SvROK(object) && SvOBJECT(SvRV(object)) && SvTYPE(SvRV(object)) == SVt_PVHV ? (HV *)SvRV(object) : NULL;
    beginning = hash && !SvRMAGICAL(hash) ? hv_fetchs(hash, "_beginning", 0) : NULL;
    kept = beginning ? esx_plain_hash(*beginning) : NULL;
    class = kept ? hv_fetchs(kept, "class", 0) : NULL;
    members = kept ? hv_fetchs(kept, "members", 0) : NULL;
    keys = esx_plain_array(names);
    values = members ? esx_plain_array(*members) : NULL;
    name = hash ? HvNAME_get(SvSTASH(hash)) : NULL;
    RETVAL = &PL_sv_undef;
    if (name && class && values && keys && !SvRMAGICAL(keys) && !SvRMAGICAL(values) && av_len(keys) == av_len(values)
        && esx_is_plain(*class) && strEQ(SvPVX_const(*class), name)) {
        for (at = av_len(keys); at >= 0; at--) {
            SV *value = AvARRAY(values)[at];
            HE *entry = AvARRAY(keys)[at] ? hv_fetch_ent(hash, AvARRAY(keys)[at], 0, 0) : NULL;
            if (!esx_are_same(aTHX_ entry ? HeVAL(entry) : &PL_sv_undef, value ? value : &PL_sv_undef, 1))
                break;
        }
        if (at < 0)
            RETVAL = newSVsv(*beginning);
    }
  OUTPUT:
    RETVAL

# Two references to arrays. See esx_are_same.
bool
_are_same(SV *one, SV *other)
  CODE:
    RETVAL = esx_are_same(aTHX_ one, other, 2);
  OUTPUT:
    RETVAL

# Puts the guard of $@, $! and $? around a sub.
void
_keep_errors(const char *name)
  PREINIT:
    SV *sub;
  CODE:
    sub = sv_2mortal(SvREFCNT_inc((SV *)get_cv(name, GV_ADD)));
    sv_magicext((SV *)newXS(name, esx_call_kept, "value.xs"), sub, PERL_MAGIC_ext, &esx_kept_table, NULL, 0);

# A name in characters; undef stays undef.
SV *
_name(SV *given)
  CODE:
    given = esx_read(aTHX_ given);
    if (SvOK(given)) {
        given = esx_string(aTHX_ given);
        if (esx_is_name_in_bytes(given))
            SvUTF8_on(given);
    }
    RETVAL = newSVsv(given);
  OUTPUT:
    RETVAL

# Tells what a Perl value is, without running code of its own. See snapshot.h.

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

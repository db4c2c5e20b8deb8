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

# Two references to arrays. See esx_are_same.
bool
_are_same(SV *one, SV *other)
  CODE:
    RETVAL = esx_are_same(aTHX_ one, other, 2);
  OUTPUT:
    RETVAL

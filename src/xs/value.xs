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

# True if the members of an object that is a hash, by their names, are the same as these values. See esx_are_same.
bool
_has_values(SV *object, SV *names, SV *values)
  PREINIT:
    HV *hash;
    AV *keys, *known;
    SSize_t at;
  CODE:
    hash = SvROK(object) && SvTYPE(SvRV(object)) == SVt_PVHV ? (HV *)SvRV(object) : NULL;
    keys = esx_plain_array(names);
    known = esx_plain_array(values);
    RETVAL = hash && !SvRMAGICAL(hash) && keys && known && av_len(keys) == av_len(known);
    for (at = RETVAL ? av_len(keys) : -1; RETVAL && at >= 0; at--) {
        SV **key = av_fetch(keys, at, 0);
        SV **value = av_fetch(known, at, 0);
        HE *entry = key ? hv_fetch_ent(hash, *key, 0, 0) : NULL;
        RETVAL = esx_are_same(aTHX_ entry ? HeVAL(entry) : &PL_sv_undef, value ? *value : &PL_sv_undef, 1);
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

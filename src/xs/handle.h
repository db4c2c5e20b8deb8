/* Objects with a Rust value behind them. The pointer is in ext magic with a table of this library, so a forged number or a
 * copied hash is never taken for such an object. */

/* Without this, "local" on such an object would copy the pointer, and it would be freed twice. The local copy has no magic. */
static int
esx_handle_local(pTHX_ SV *sv, MAGIC *magic)
{
    PERL_UNUSED_ARG(sv);
    PERL_UNUSED_ARG(magic);
    return 0;
}

/* Called for the copy of an object in a new ithread. The copy is of no use, because the value belongs to one thread. */
static int
esx_handle_forget(pTHX_ MAGIC *magic, CLONE_PARAMS *params)
{
    PERL_UNUSED_ARG(params);
    magic->mg_ptr = NULL;
    return 0;
}

/* Defines the table of a kind of handle, esx_KIND_table. esx_KIND_drop frees a handle; dup is called for its copy in a new
 * ithread. */
#define ESX_HANDLE(kind, dup) \
    static int \
    esx_##kind##_free(pTHX_ SV *sv, MAGIC *magic) \
    { \
        dSAVE_ERRNO; \
        PERL_UNUSED_ARG(sv); \
        if (magic->mg_ptr) \
            esx_##kind##_drop(magic->mg_ptr); \
        magic->mg_ptr = NULL; \
        RESTORE_ERRNO; \
        return 0; \
    } \
    static MGVTBL esx_##kind##_table = {0, 0, 0, 0, esx_##kind##_free, 0, dup, esx_handle_local};

/* Returns the magic of a table from the scalar that a reference points to, or NULL. Types below PVMG have no magic, and
 * mg_findext would read other memory there. */
static MAGIC *
esx_handle_magic(pTHX_ SV *self, MGVTBL *table)
{
    if (!SvROK(self) || SvTYPE(SvRV(self)) < SVt_PVMG)
        return NULL;
    return mg_findext(SvRV(self), PERL_MAGIC_ext, table);
}

/* Adds magic to an object. The caller sets the pointer. */
static MAGIC *
esx_handle_attach(pTHX_ SV *object, MGVTBL *table)
{
    MAGIC *magic = sv_magicext(object, NULL, PERL_MAGIC_ext, table, NULL, 0);
    magic->mg_flags |= MGf_LOCAL | MGf_DUP;
    return magic;
}

/* Adds magic to an object that is a hash, and has none yet. The caller sets the pointer. */
static MAGIC *
esx_handle_new(pTHX_ SV *self, MGVTBL *table, const char *module, const char *what)
{
    if (!SvROK(self) || !SvOBJECT(SvRV(self)) || SvTYPE(SvRV(self)) != SVt_PVHV)
        esx_croakf(ESX_CODE_INVALID, NULL, "%s: a %s is an object that is a hash", module, what);
    if (esx_handle_magic(aTHX_ self, table))
        esx_croakf(ESX_CODE_STATE, NULL, "%s: this is a %s already", module, what);
    return esx_handle_attach(aTHX_ SvRV(self), table);
}

/* Defines esx_KIND_of, which returns the handle behind an object. It dies with the message for an object of another class, and
 * if the handle belongs to another thread. */
#define ESX_HANDLE_OF(kind, message) \
    static void * \
    esx_##kind##_of(pTHX_ SV *self) \
    { \
        MAGIC *magic = esx_handle_magic(aTHX_ self, &esx_##kind##_table); \
        if (!magic) \
            esx_croakf(ESX_CODE_INVALID, NULL, message); \
        if (!magic->mg_ptr) \
            esx_croakf(ESX_CODE_STATE, NULL, \
                "EventSource::XS: this object belongs to another thread; make one in this thread"); \
        return magic->mg_ptr; \
    }

ESX_HANDLE(parser, esx_handle_forget)
ESX_HANDLE_OF(parser, "EventSource::Parser: this is not a parser; make one with EventSource::Parser->new")

/* Makes a Perl string from UTF-8 of Rust. ASCII does not get the flag, because perl handles strings without it faster.
 * perl reads a length of 0 as "up to the NUL", which Rust's strings do not have. */
static SV *
esx_characters(pTHX_ esx_text text)
{
    SV *sv = newSVpvn(text.text, text.len);
    if (text.len && !is_ascii_string((const U8 *)text.text, text.len))
        SvUTF8_on(sv);
    return sv;
}

/* Returns a new reference to a hash of event, data and id. */
static SV *
esx_event_hash(pTHX_ const esx_text event[3])
{
    HV *hash = newHV();
    (void)hv_stores(hash, "event", esx_characters(aTHX_ event[0]));
    (void)hv_stores(hash, "data", esx_characters(aTHX_ event[1]));
    (void)hv_stores(hash, "id", esx_characters(aTHX_ event[2]));
    return newRV_noinc((SV *)hash);
}

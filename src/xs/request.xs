# What the head of a request says: the rules that a worker and a hub process share (src/request). request.h reads the arguments,
# request.rs is behind them.

MODULE = EventSource::XS    PACKAGE = EventSource::XS::LastEventID

# The id in a header or in a query, as characters; undef if there is none.
SV *
_find(SV *header, SV *query)
  PREINIT:
    char id[ESX_LAST_EVENT_ID_MAX];
    size_t len;
  CODE:
    PERL_UNUSED_VAR(header);
    PERL_UNUSED_VAR(query);
    esx_snapshot_values(aTHX_ ax, 0, items);
    len = esx_last_event_id(esx_octets_of(aTHX_ ST(0)), esx_octets_of(aTHX_ ST(1)), id);
    if (!len)
        XSRETURN_UNDEF;
    RETVAL = newSVpvn(id, len);
    sv_utf8_decode(RETVAL);
    SvTAINT(RETVAL);
  OUTPUT:
    RETVAL

MODULE = EventSource::XS    PACKAGE = EventSource::XS::ContentCoding

# The name of the best coding that a client accepts, by its Accept-Encoding, which may be undef. One that is better than the last
# argument is not chosen.
SV *
best(SV *class, SV *field, SV *most = &PL_sv_undef)
  PREINIT:
    esx_text name;
  CODE:
    PERL_UNUSED_VAR(class);
    PERL_UNUSED_VAR(field);
    esx_snapshot_values(aTHX_ ax, 1, items);
    name = esx_content_coding(esx_octets_of(aTHX_ ST(1)), esx_octets_of(aTHX_ items > 2 ? ST(2) : most));
    RETVAL = newSVpvn(name.text, name.len);
  OUTPUT:
    RETVAL

MODULE = EventSource::XS    PACKAGE = EventSource::XS::Hub::Preference

# What the header Prefer says: the value of Preference-Applied, the wait of a poll, the number of its reason, and the token of the
# request. What the client does not give is undef. The list is empty if it gives nothing that is known.
void
_parse(SV *field)
  PREINIT:
    esx_preference preference;
  PPCODE:
    PERL_UNUSED_VAR(field);
    esx_snapshot_values(aTHX_ ax, 0, items);
    esx_preference_of(esx_octets_of(aTHX_ ST(0)), &preference);
    if (!preference.len)
        XSRETURN_EMPTY;
    EXTEND(SP, 4);
    mPUSHp(preference.applied, preference.len);
    PUSHs(preference.wait < 0 ? &PL_sv_undef : sv_2mortal(newSViv(preference.wait)));
    PUSHs(preference.wait < 0 ? &PL_sv_undef : sv_2mortal(newSViv(preference.reason)));
    PUSHs(!preference.token_len ? &PL_sv_undef
        : sv_2mortal(newSVpvn(preference.applied + preference.len - preference.token_len, preference.token_len)));

# The header of streams that polls do not have.
SV *
_only_of_streams()
  PREINIT:
    esx_text name;
  CODE:
    name = esx_only_of_streams();
    RETVAL = newSVpvn(name.text, name.len);
  OUTPUT:
    RETVAL

MODULE = EventSource::XS    PACKAGE = EventSource::XS::Hub::Ticket

# A digest of a request: 32 bytes. The first argument is an array of the names of the cookies that count, or undef if all do. The
# others are in the order of esx_bound_digest; those that may be missing are undef then.
SV *
_digest(SV *cookie_names, ...)
  PREINIT:
    const esx_text *names, *values;
    esx_report report;
    size_t len;
    char digest[ESX_DIGEST_BYTES];
  CODE:
    esx_keep_args_alive(aTHX_ ax, 0, items);
    names = esx_names_of(aTHX_ cookie_names, &len);
    esx_snapshot_values(aTHX_ ax, 1, items);
    values = esx_all_octets_of(aTHX_ &ST(1), (size_t)items - 1);
    esx_check(aTHX_ esx_bound_digest(values, (size_t)items - 1, names, len, digest, &report), &report, "EventSource::Hub");
    RETVAL = newSVpvn(digest, sizeof(digest));
  OUTPUT:
    RETVAL

# The sealed ticket among the cookies of a request to a path of a hub; undef if there is none.
SV *
_ticket_of(SV *cookies, SV *hub, SV *path)
  PREINIT:
    char ticket[ESX_TICKET_MAX];
    size_t len;
  CODE:
    PERL_UNUSED_VAR(cookies);
    PERL_UNUSED_VAR(hub);
    PERL_UNUSED_VAR(path);
    esx_snapshot_values(aTHX_ ax, 0, items);
    len = esx_ticket_of(esx_octets_of(aTHX_ ST(0)), esx_octets_of(aTHX_ ST(1)), esx_octets_of(aTHX_ ST(2)), ticket);
    if (!len)
        XSRETURN_UNDEF;
    RETVAL = newSVpvn(ticket, len);
  OUTPUT:
    RETVAL

# The name of the cookie that has a hub's ticket for a path.
SV *
_cookie_of(SV *hub, SV *path)
  PREINIT:
    char name[ESX_COOKIE_NAME_MAX];
    size_t len;
  CODE:
    PERL_UNUSED_VAR(hub);
    PERL_UNUSED_VAR(path);
    esx_snapshot_values(aTHX_ ax, 0, items);
    len = esx_ticket_cookie(esx_octets_of(aTHX_ ST(0)), esx_octets_of(aTHX_ ST(1)), name);
    RETVAL = newSVpvn(name, len);
  OUTPUT:
    RETVAL

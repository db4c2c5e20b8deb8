# Hubs and their leases. hub.h reads the arguments, hub.rs is behind them.

MODULE = EventSource::XS    PACKAGE = EventSource::Hub

void
_attach(SV *self, ...)
  PREINIT:
    const esx_text *given;
    esx_report report;
    MAGIC *magic;
  CODE:
    PERL_UNUSED_VAR(self);
    given = esx_texts_of(aTHX_ ax, 1, items);
    magic = esx_handle_new(aTHX_ ST(0), &esx_hub_table, "EventSource::Hub", "hub");
    magic->mg_ptr = esx_hub_new(given, (size_t)items - 1, &report);
    if (!magic->mg_ptr)
        esx_croak_report(aTHX_ &report, "EventSource::Hub", NULL);

# As _check, the same event is checked and not published.
void
publish(SV *self, SV *channel, SV *event, SV *options = NULL)
  ALIAS:
    _check = 1
  PREINIT:
    esx_block block;
    esx_publication publication;
    SV *once = NULL;
    int strings;
    dXSTARG;
  PPCODE:
    esx_block_init(aTHX_ &block, ax, items, TRUE);
    publication.act = ESX_WAIT;
    esx_snapshot_publish(aTHX_ &block, &strings, &publication);
    if (options)
        esx_snapshot_publish_options(aTHX_ &block, ST(3), &once, &publication.act);
    PERL_UNUSED_VAR(self);
    PERL_UNUSED_VAR(channel);
    PERL_UNUSED_VAR(event);
    esx_publication_complete(aTHX_ &publication, &block, strings, once);
    if (ix)
        publication.act = ESX_CHECK;
    ST(0) = esx_publish(aTHX_ esx_hub_of(aTHX_ ST(0)), &publication, TARG);
    esx_run_callbacks(aTHX);
    XSRETURN(1);

# Subscribes a stream: see esx_hub_subscribe.
void
_subscribe(SV *self, SV *stream, ...)
  PREINIT:
    const esx_text *given;
    esx_report report;
  PPCODE:
    PERL_UNUSED_VAR(self);
    PERL_UNUSED_VAR(stream);
    given = esx_texts_of(aTHX_ ax, 2, items);
    esx_return_answer(aTHX_ ax,
        esx_hub_subscribe(esx_hub_of(aTHX_ ST(0)), esx_stream_of(aTHX_ ST(1)), given, (size_t)items - 2, &report), &report,
        "EventSource::Hub");
    SPAGAIN;

# Calls by name, with texts: calls.rs.
void
_call(SV *self, ...)
  PREINIT:
    const esx_text *given;
    esx_report report;
  PPCODE:
    PERL_UNUSED_VAR(self);
    given = esx_texts_of(aTHX_ ax, 1, items);
    esx_return_answer(aTHX_ ax, esx_hub_call(esx_hub_of(aTHX_ ST(0)), given, (size_t)items - 1, &report), &report,
        "EventSource::Hub");
    esx_run_callbacks(aTHX);
    SPAGAIN;

# The time, as a subscription and the end of streams compare it; 0 if it does not fit.
UV
clock(SV *class)
  CODE:
    PERL_UNUSED_VAR(class);
    RETVAL = UVSIZE < 8 ? 0 : (UV)esx_monotonic();
  OUTPUT:
    RETVAL

# Asks for a lease, which the given object is from then on. Changes are reported to an interpreter, as the ends of streams are.
void
_elect(SV *self, SV *object, SV *name, UV interpreter)
  PREINIT:
    esx_report report;
    esx_text text;
    MAGIC *magic;
  CODE:
    name = esx_keep_alive(aTHX_ name);
    self = esx_snapshot(aTHX_ self);
    object = esx_snapshot(aTHX_ object);
    text = esx_text_of(aTHX_ esx_string(aTHX_ name));
    if (!SvROK(object) || !SvOBJECT(SvRV(object)) || SvTYPE(SvRV(object)) < SVt_PVMG
        || esx_handle_magic(aTHX_ object, &esx_lease_table))
        esx_croakf(ESX_CODE_INVALID, NULL, "EventSource::Hub: _elect takes a new object");
    magic = esx_handle_attach(aTHX_ SvRV(object), &esx_lease_table);
    magic->mg_ptr = esx_hub_elect(esx_hub_of(aTHX_ self), text, (uint32_t)interpreter, &report);
    if (!magic->mg_ptr)
        esx_croak_report(aTHX_ &report, "EventSource::Hub", NULL);

MODULE = EventSource::XS    PACKAGE = EventSource::Hub::Lease::Native

# The number of what is known of the lease: 0 while another worker holds it, 1 if this one does, 2 if it is to be asked for.
int
_state(SV *self)
  PREINIT:
    MAGIC *magic;
  CODE:
    magic = esx_handle_magic(aTHX_ self, &esx_lease_table);
    RETVAL = magic && magic->mg_ptr ? esx_lease_state(magic->mg_ptr) : 2;
  OUTPUT:
    RETVAL

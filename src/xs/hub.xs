# Hubs, their leases, and the kinds of stores. hub.h reads the arguments, hub.rs is behind them.

MODULE = EventSource::XS    PACKAGE = EventSource::Hub

void
_attach(SV *self, SV *settings)
  PREINIT:
    esx_hub_settings raw;
    esx_report report;
    MAGIC *magic;
    HV *hash;
    AV *gap_data;
    int reason;
  CODE:
    settings = esx_keep_alive(aTHX_ settings);
    self = esx_snapshot(aTHX_ self);
    hash = esx_settings(aTHX_ settings);
    raw.events = esx_setting_uv(aTHX_ hash, "events");
    raw.bytes = esx_setting_uv(aTHX_ hash, "bytes");
    raw.events_in_total = esx_setting_uv(aTHX_ hash, "events_in_total");
    raw.bytes_in_total = esx_setting_uv(aTHX_ hash, "bytes_in_total");
    raw.seconds = esx_setting_nv(aTHX_ hash, "seconds");
    raw.seconds_in_total = esx_setting_nv(aTHX_ hash, "seconds_in_total");
    raw.state_keys = esx_setting_uv(aTHX_ hash, "state_keys");
    raw.state_bytes = esx_setting_uv(aTHX_ hash, "state_bytes");
    raw.total_state_keys = esx_setting_uv(aTHX_ hash, "total_state_keys");
    raw.total_state_bytes = esx_setting_uv(aTHX_ hash, "total_state_bytes");
    raw.max_topics = esx_setting_uv(aTHX_ hash, "max_topics");
    raw.max_streams = esx_setting_uv(aTHX_ hash, "max_streams");
    raw.max_members = esx_setting_uv(aTHX_ hash, "max_members");
    raw.on_slow = (uint8_t)esx_setting_uv(aTHX_ hash, "on_slow");
    raw.opaque_ids = (uint8_t)esx_setting_uv(aTHX_ hash, "opaque_ids");
    raw.refuses_position_event = esx_setting_is(aTHX_ hash, "refuses_position_event");
    raw.name = esx_setting_text(aTHX_ hash, "name");
    raw.socket = esx_setting_path(aTHX_ hash, "socket");
    raw.program = esx_setting_path(aTHX_ hash, "program");
    raw.idle_exit = esx_setting_nv(aTHX_ hash, "idle_exit");
    raw.grace = esx_setting_nv(aTHX_ hash, "grace");
    raw.publish_timeout = esx_setting_nv(aTHX_ hash, "publish_timeout");
    raw.store = esx_setting_bytes(aTHX_ hash, "store");
    raw.named = esx_setting_text(aTHX_ hash, "named");
    raw.channels = esx_setting_bytes(aTHX_ hash, "channels");
    raw.gap_event = esx_setting_text(aTHX_ hash, "gap_event");
    raw.position_event = esx_setting_text(aTHX_ hash, "position_event");
    raw.show_channel = esx_setting_text(aTHX_ hash, "show_channel");
    gap_data = esx_plain_array(esx_setting(aTHX_ hash, "gap_data"));
    for (reason = 0; reason < ESX_GAPS; reason++) {
        SV **data = gap_data ? av_fetch(gap_data, reason, 0) : NULL;
        raw.gap_data[reason].text = NULL;
        raw.gap_data[reason].len = 0;
        if (data)
            raw.gap_data[reason] = esx_text_of(aTHX_ esx_string(aTHX_ *data));
    }
    magic = esx_handle_new(aTHX_ self, &esx_hub_table, "EventSource::Hub", "hub");
    magic->mg_ptr = esx_hub_new(&raw, &report);
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
    esx_report report;
    SV *once = NULL;
    int strings;
    uint8_t retain;
    bool waits = TRUE;
    dXSTARG;
  PPCODE:
    esx_block_init(aTHX_ &block, ax, items, TRUE);
    esx_snapshot_publish(aTHX_ &block, &strings, &retain);
    if (options)
        esx_snapshot_publish_options(aTHX_ &block, ST(3), &once, &waits);
    if (!block.len)
        esx_croakf(ESX_CODE_INVALID, NULL,
            "EventSource::Hub: an event needs one of event, id, retry, data, json, comment");
    PERL_UNUSED_VAR(self);
    PERL_UNUSED_VAR(channel);
    PERL_UNUSED_VAR(event);
    publication = esx_publication_of(aTHX_ &block, strings, retain, once);
    publication.waits = waits;
    if (ix) {
        esx_check(aTHX_ esx_hub_check(esx_hub_of(aTHX_ ST(0)), &publication, &report), &report, "EventSource::Hub");
        XSRETURN_EMPTY;
    }
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
    self = esx_snapshot(aTHX_ self);
    stream = esx_snapshot(aTHX_ stream);
    given = esx_texts_of(aTHX_ ax, 2, items);
    esx_return_answer(aTHX_ ax,
        esx_hub_subscribe(esx_hub_of(aTHX_ self), esx_stream_of(aTHX_ stream), given, (size_t)items - 2, &report), &report,
        "EventSource::Hub");
    SPAGAIN;

# Calls by name, with texts: calls.rs.
void
_call(SV *self, ...)
  PREINIT:
    const esx_text *given;
    esx_report report;
  PPCODE:
    self = esx_snapshot(aTHX_ self);
    given = esx_texts_of(aTHX_ ax, 1, items);
    esx_return_answer(aTHX_ ax, esx_hub_call(esx_hub_of(aTHX_ self), given, (size_t)items - 1, &report), &report,
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

MODULE = EventSource::XS    PACKAGE = EventSource::XS::Hub::Store

# The names of the settings of each kind of store, with spaces between.
void
_names()
  PREINIT:
    size_t kind;
    esx_text names;
  PPCODE:
    for (kind = 0; names = esx_store_names(kind), names.len; kind++)
        mXPUSHp(names.text, names.len);

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

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

int
_subscribe(SV *self, SV *stream, SV *names, SV *after, SV *options)
  PREINIT:
    esx_request request;
    esx_report report;
  CODE:
    esx_keep_args_alive(aTHX_ ax, 0, items);
    self = esx_snapshot(aTHX_ self);
    stream = esx_snapshot(aTHX_ stream);
    request = esx_request_of(aTHX_ names, after, options);
    RETVAL = esx_hub_subscribe(esx_hub_of(aTHX_ self), esx_stream_of(aTHX_ stream), &request, &report);
    if (RETVAL < 0)
        esx_croak_report(aTHX_ &report, "EventSource::Hub", NULL);
  OUTPUT:
    RETVAL

# Seals a ticket of a subscription, the arguments of _subscribe without the stream and the id. The limits are labels and
# numbers. Returns a reference to an array of the sealed bytes, if there are any.
SV *
_seal_ticket(SV *self, SV *names, SV *options, SV *limits, SV *owner, SV *binding, SV *passport, NV seconds, UV most)
  PREINIT:
    esx_ticket ticket;
    esx_report report;
    void *texts;
  CODE:
    esx_keep_args_alive(aTHX_ ax, 0, items);
    self = esx_snapshot(aTHX_ self);
    ticket.limits = esx_array_texts(aTHX_ limits, &ticket.limits_len);
    ticket.owner = esx_text_of(aTHX_ esx_string(aTHX_ esx_read(aTHX_ owner)));
    ticket.binding = esx_bytes_of(aTHX_ esx_string(aTHX_ esx_read(aTHX_ binding)));
    ticket.passport = esx_array_texts(aTHX_ passport, &ticket.passport_len);
    ticket.seconds = seconds;
    ticket.most = most;
    ticket.request = esx_request_of(aTHX_ names, &PL_sv_undef, options);
    texts = esx_hub_seal_ticket(esx_hub_of(aTHX_ self), &ticket, &report);
    RETVAL = esx_texts(aTHX_ texts, &report, "EventSource::Hub", 0);
  OUTPUT:
    RETVAL

# Opens a ticket. Returns a reference to an array: of whose stream it is, and the opened bytes; empty if no stream may begin
# with it.
SV *
_open_ticket(SV *self, SV *sealed, SV *binding)
  PREINIT:
    esx_text bytes, text;
    esx_report report;
    void *texts;
  CODE:
    esx_keep_args_alive(aTHX_ ax, 0, items);
    self = esx_snapshot(aTHX_ self);
    text = esx_bytes_of(aTHX_ esx_string(aTHX_ esx_read(aTHX_ binding)));
    bytes = esx_bytes_of(aTHX_ esx_string(aTHX_ esx_read(aTHX_ sealed)));
    texts = esx_hub_open_ticket(esx_hub_of(aTHX_ self), bytes, text, &report);
    RETVAL = esx_texts(aTHX_ texts, &report, "EventSource::Hub", 0);
  OUTPUT:
    RETVAL

# Subscribes a stream as an opened ticket says, with the id, the reconnection time and the poll of its request. Returns what
# _subscribe does.
int
_subscribe_ticket(SV *self, SV *stream, SV *opened, SV *after, SV *options)
  PREINIT:
    esx_text bytes;
    esx_request request;
    esx_report report;
  CODE:
    esx_keep_args_alive(aTHX_ ax, 0, items);
    self = esx_snapshot(aTHX_ self);
    stream = esx_snapshot(aTHX_ stream);
    Zero(&request, 1, esx_request);
    request.after = esx_id_of(aTHX_ after);
    esx_read_of_request(aTHX_ &request, esx_settings(aTHX_ options));
    bytes = esx_bytes_of(aTHX_ esx_string(aTHX_ esx_read(aTHX_ opened)));
    RETVAL = esx_hub_subscribe_ticket(esx_hub_of(aTHX_ self), esx_stream_of(aTHX_ stream), bytes, &request, &report);
    if (RETVAL < 0)
        esx_croak_report(aTHX_ &report, "EventSource::Hub", NULL);
  OUTPUT:
    RETVAL

# A page of a channel's members: where the list continues, and five texts of each member. EventSource::Hub has checked the name.
SV *
_members(SV *self, SV *channel, SV *after)
  PREINIT:
    esx_text name, last;
    esx_report report;
    void *texts;
  CODE:
    esx_keep_args_alive(aTHX_ ax, 0, items);
    self = esx_snapshot(aTHX_ self);
    name = esx_text_of(aTHX_ esx_string(aTHX_ esx_read(aTHX_ channel)));
    last = esx_text_of(aTHX_ esx_string(aTHX_ esx_read(aTHX_ after)));
    texts = esx_hub_members(esx_hub_of(aTHX_ self), name, last, &report);
    RETVAL = esx_texts(aTHX_ texts, &report, "EventSource::Hub", SVf_UTF8);
  OUTPUT:
    RETVAL

# A page of a channel's history or state: where it continues, through which number it was read, and two texts of each event.
# EventSource::Hub has checked the name.
SV *
_log(SV *self, SV *channel, int is_state, UV after, UV through, UV last)
  PREINIT:
    esx_text name;
    esx_log_range range;
    esx_report report;
    void *texts;
  CODE:
    esx_keep_args_alive(aTHX_ ax, 0, items);
    self = esx_snapshot(aTHX_ self);
    name = esx_text_of(aTHX_ esx_string(aTHX_ esx_read(aTHX_ channel)));
    range.is_state = is_state;
    range.after = after;
    range.through = through;
    range.last = last;
    texts = esx_hub_log(esx_hub_of(aTHX_ self), name, &range, &report);
    RETVAL = esx_texts(aTHX_ texts, &report, "EventSource::Hub", SVf_UTF8);
  OUTPUT:
    RETVAL

# A part of the list of the channels whose names match a pattern: where the list continues, and seven texts of each channel.
SV *
_channels(SV *self, SV *pattern, UV from)
  PREINIT:
    esx_text text;
    esx_report report;
    void *texts;
  CODE:
    esx_keep_args_alive(aTHX_ ax, 0, items);
    self = esx_snapshot(aTHX_ self);
    text = esx_text_of(aTHX_ esx_string(aTHX_ esx_read(aTHX_ pattern)));
    texts = esx_hub_channels(esx_hub_of(aTHX_ self), text, from, &report);
    RETVAL = esx_texts(aTHX_ texts, &report, "EventSource::Hub", SVf_UTF8);
  OUTPUT:
    RETVAL

UV
_count_members(SV *self, SV *channel)
  PREINIT:
    esx_text name;
    esx_report report;
  CODE:
    esx_keep_args_alive(aTHX_ ax, 0, items);
    self = esx_snapshot(aTHX_ self);
    name = esx_text_of(aTHX_ esx_string(aTHX_ esx_read(aTHX_ channel)));
    esx_check(aTHX_ esx_hub_count_members(esx_hub_of(aTHX_ self), name, &report), &report, "EventSource::Hub");
    RETVAL = report.size;
  OUTPUT:
    RETVAL

# Reserves a place for a stream with a label; false if so many streams have it.
bool
_reserve(SV *self, SV *label, UV most)
  PREINIT:
    esx_text text;
    esx_report report;
  CODE:
    esx_keep_args_alive(aTHX_ ax, 0, items);
    self = esx_snapshot(aTHX_ self);
    text = esx_text_of(aTHX_ esx_string(aTHX_ esx_read(aTHX_ label)));
    esx_check(aTHX_ esx_hub_reserve(esx_hub_of(aTHX_ self), text, most, &report), &report, "EventSource::Hub");
    RETVAL = report.size > 0;
  OUTPUT:
    RETVAL

void
_count_refused_origin(SV *self)
  CODE:
    (void)esx_hub_count_refused_origin(esx_hub_of(aTHX_ self));

bool
_has_refused_members(SV *self)
  CODE:
    RETVAL = esx_hub_has_refused_members(esx_hub_of(aTHX_ self)) > 0;
  OUTPUT:
    RETVAL

# Takes what EventSource::XS::Hub::Member makes of a change. Returns false if the member is not here.
bool
_update_member(SV *self, SV *texts)
  PREINIT:
    const esx_text *given;
    esx_report report;
    size_t len;
  CODE:
    esx_keep_args_alive(aTHX_ ax, 0, items);
    self = esx_snapshot(aTHX_ self);
    given = esx_array_texts(aTHX_ texts, &len);
    esx_check(aTHX_ esx_hub_update_member(esx_hub_of(aTHX_ self), given, len, &report), &report, "EventSource::Hub");
    RETVAL = report.size > 0;
  OUTPUT:
    RETVAL

# Ends streams. EventSource::Hub has checked the arrays.
UV
_end(SV *self, SV *labels, SV *topics, bool finishes)
  PREINIT:
    const esx_topic *ended_labels, *ended_topics;
    AV *label_array, *topic_array;
    size_t labels_len, topics_len;
    esx_report report;
    int status;
  CODE:
    esx_keep_args_alive(aTHX_ ax, 0, items);
    self = esx_snapshot(aTHX_ self);
    label_array = esx_plain_array(esx_read(aTHX_ labels));
    topic_array = esx_plain_array(esx_read(aTHX_ topics));
    if (!label_array || !topic_array)
        esx_croakf(ESX_CODE_INVALID, NULL, "EventSource::Hub: _end takes arrays of names");
    label_array = esx_snapshot_topics(aTHX_ label_array);
    topic_array = esx_snapshot_topics(aTHX_ topic_array);
    ended_labels = esx_topics_of(aTHX_ label_array, &labels_len);
    ended_topics = esx_topics_of(aTHX_ topic_array, &topics_len);
    status = esx_hub_end(esx_hub_of(aTHX_ self), ended_labels, labels_len, ended_topics, topics_len, finishes, &report);
    if (status != ESX_ENDING)
        esx_check(aTHX_ status, &report, "EventSource::Hub");
    RETVAL = status == ESX_OK ? report.size : 0;
  OUTPUT:
    RETVAL

# The time, as a subscription and the end of streams compare it; 0 if it does not fit.
UV
clock(SV *class)
  CODE:
    PERL_UNUSED_VAR(class);
    RETVAL = UVSIZE < 8 ? 0 : (UV)esx_monotonic();
  OUTPUT:
    RETVAL

# _known_epoch is empty if the hub process is away, and does not wait for it.
SV *
epoch(SV *self)
  ALIAS:
    _known_epoch = 1
  PREINIT:
    char epoch[ESX_ID_MAX];
    esx_report report;
  CODE:
    esx_check(aTHX_ esx_hub_epoch(esx_hub_of(aTHX_ self), !ix, epoch, &report), &report, "EventSource::Hub");
    esx_run_callbacks(aTHX);
    RETVAL = newSVpvn(epoch, report.size);
  OUTPUT:
    RETVAL

SV *
stats(SV *self)
  PREINIT:
    esx_report report;
    SV *counts;
    void *texts;
  CODE:
    texts = esx_hub_counts(esx_hub_of(aTHX_ self), &report);
    counts = sv_2mortal(esx_texts(aTHX_ texts, &report, "EventSource::Hub", SVf_UTF8));
    esx_run_callbacks(aTHX);
    RETVAL = SvREFCNT_inc(esx_call(aTHX_ "EventSource::Hub::Process::_counts_of", 1, &counts));
  OUTPUT:
    RETVAL

# Takes what EventSource::XS::Hub::Metrics makes of its options. Returns bytes of UTF-8.
SV *
_metrics(SV *self, SV *given)
  PREINIT:
    const esx_text *texts;
    esx_report report;
    void *text;
    size_t len;
  CODE:
    esx_keep_args_alive(aTHX_ ax, 0, items);
    self = esx_snapshot(aTHX_ self);
    texts = esx_array_texts(aTHX_ given, &len);
    if (!len)
        esx_croakf(ESX_CODE_INVALID, NULL, "EventSource::Hub: _metrics takes an array");
    text = esx_hub_metrics(esx_hub_of(aTHX_ self), texts, len, &report);
    if (!text)
        esx_croak_report(aTHX_ &report, "EventSource::Hub", NULL);
    {
        const esx_text first = esx_texts_at(text, 0);
        RETVAL = newSVpvn(first.text, first.len);
    }
    esx_texts_drop(text);
    esx_run_callbacks(aTHX);
  OUTPUT:
    RETVAL

UV
subscribers(SV *self, SV *channel)
  PREINIT:
    esx_report report;
    esx_text name;
  CODE:
    channel = esx_keep_alive(aTHX_ channel);
    self = esx_snapshot(aTHX_ self);
    channel = esx_read_text(aTHX_ "channel", "a channel's name", channel);
    name = esx_channel_of(aTHX_ channel);
    esx_check(aTHX_ esx_hub_subscribers(esx_hub_of(aTHX_ self), name, &report), &report, "EventSource::Hub");
    esx_run_callbacks(aTHX);
    RETVAL = report.size;
  OUTPUT:
    RETVAL

void
_drain(SV *self, SV *seconds)
  PREINIT:
    esx_report report;
    NV number;
  CODE:
    seconds = esx_keep_alive(aTHX_ seconds);
    self = esx_snapshot(aTHX_ self);
    number = SvNV(seconds);
    esx_check(aTHX_ esx_hub_drain(esx_hub_of(aTHX_ self), number, &report), &report, "EventSource::Hub");

# True if the hub has a hub process.
bool
_has_process(SV *self)
  CODE:
    RETVAL = esx_hub_has_process(esx_hub_of(aTHX_ self)) > 0;
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
    if (!esx_hub_has_process(esx_hub_of(aTHX_ self)))
        esx_croakf(ESX_CODE_STATE, NULL, "EventSource::Hub: only a named hub has leases");
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

/* Hubs, leases and connections to hub processes: objects with a Rust value behind them, as handle.h describes. */

/* A server with threads, such as Apache with mod_perl, may have loaded the application before: its threads share a hub. */
static int
esx_hub_dup(pTHX_ MAGIC *magic, CLONE_PARAMS *params)
{
    PERL_UNUSED_ARG(params);
    if (magic->mg_ptr)
        magic->mg_ptr = esx_hub_clone(magic->mg_ptr);
    return 0;
}

ESX_HANDLE(hub, esx_hub_dup)
ESX_HANDLE(lease, esx_handle_forget)
ESX_HANDLE(process, esx_handle_forget)
ESX_HANDLE_OF(hub, "EventSource::Hub: this is not a hub; make one with EventSource::Hub->new")
ESX_HANDLE_OF(process, "EventSource::Hub::Process: this is not a connection; make one with EventSource::Hub::Process->connect")

/* Returns the characters of a name; none if it is undefined. */
static esx_text
esx_name_if(pTHX_ SV *name)
{
    static const esx_text undefined = {NULL, 0};
    return name && SvOK(name) ? esx_name_of(aTHX_ name) : undefined;
}

/* Reads an argument that is one string. Croaks if it is a reference that is not overloaded, such as a pattern instead of a
 * name. */
static SV *
esx_read_text(pTHX_ const char *field, const char *what, SV *sv)
{
    sv = esx_read(aTHX_ sv);
    if (SvROK(sv) && !esx_is_overloaded(aTHX_ sv))
        esx_croakf(ESX_CODE_INVALID, field, "EventSource::Hub: %s must be a string, not a reference to %s", what,
            sv_reftype(SvRV(sv), TRUE));
    return SvOK(sv) ? esx_string(aTHX_ sv) : sv;
}

/* The same for the channel and the key of a publish. */
static void
esx_block_read_text(pTHX_ esx_block *block, int which, const char *field, const char *what, SV *sv)
{
    if (!block->is_detached && !esx_is_plain(sv))
        esx_block_detach(aTHX_ block);
    block->texts[which] = block->is_detached ? esx_read_text(aTHX_ field, what, sv) : sv;
}

/* Returns the value of `retain`: true, or the word with which EventSource::Hub::forget calls. */
static uint8_t
esx_block_read_retain(pTHX_ esx_block *block, SV *value)
{
    if (!value)
        return ESX_RETAIN_NO;
    value = esx_block_read(aTHX_ block, value);
    if (SvROK(value)) /* it may be overloaded */
        esx_block_detach(aTHX_ block);
    if (!SvTRUE(value))
        return ESX_RETAIN_NO;
    return SvPOK(value) && strEQ(SvPVX_const(value), "forget") ? ESX_RETAIN_FORGET : ESX_RETAIN_NEWEST;
}

enum { ESX_CHANNEL_TEXT, ESX_KEY_TEXT };

/* Snapshots the arguments of EventSource::Hub::publish: a channel, and data or a hash of fields. Of an event that forgets a key
 * Rust makes what is not given. */
static void
esx_snapshot_publish(pTHX_ esx_block *block, int *strings, esx_publication *publication)
{
    const I32 ax = block->ax;
    SV *given[KEYS] = {NULL};
    SV *event;
    HV *hash;
    esx_block_read_text(aTHX_ block, ESX_CHANNEL_TEXT, "channel", "a channel's name", ST(1));
    event = esx_block_read(aTHX_ block, ST(2));
    hash = esx_plain_hash(event);
    if (hash)
        esx_given_by_hash(aTHX_ block, hash, given, ESX_PUBLISH);
    else {
        if (!SvOK(event))
            esx_croakf(ESX_CODE_INVALID, "data",
                "EventSource::Hub: publish takes data, or a hash of fields, not undef");
        given[KEY_DATA] = event;
    }
    block->given = given;
    if (given[GIVEN_KEY])
        esx_block_read_text(aTHX_ block, ESX_KEY_TEXT, "key", "key", given[GIVEN_KEY]);
    publication->retain = esx_block_read_retain(aTHX_ block, given[GIVEN_RETAIN]);
    publication->is_json = given[KEY_JSON] != NULL;
    esx_event_add(aTHX_ block, given, strings);
    if (!block->len && publication->retain != ESX_RETAIN_FORGET)
        esx_croakf(ESX_CODE_INVALID, NULL,
            "EventSource::Hub: an event needs one of event, id, retry, data, json, comment; undef leaves one out");
}

/* Reads the options of EventSource::Hub::publish. The key `once` stays NULL if there is none. Its characters are copied. */
static void
esx_snapshot_publish_options(pTHX_ esx_block *block, SV *options, SV **once, uint8_t *act)
{
    HV *hash;
    HE *entry;
    options = esx_block_read(aTHX_ block, options);
    if (!SvOK(options))
        return;
    hash = esx_plain_hash(options);
    if (!hash)
        esx_croakf(ESX_CODE_INVALID, "options",
            "EventSource::Hub: publish takes its options as a hash, such as {wait => 0, once => $key}");
    esx_keep_alive(aTHX_ (SV *)hash);
    if (SvRMAGICAL(hash))
        esx_block_detach(aTHX_ block);
    hv_iterinit(hash);
    while ((entry = hv_iternext(hash))) {
        SV *name = esx_string(aTHX_ esx_read(aTHX_ hv_iterkeysv(entry)));
        SV *value = esx_block_read(aTHX_ block, esx_keep_alive(aTHX_ hv_iterval(hash, entry)));
        if (SvROK(value)) /* it may be overloaded */
            esx_block_detach(aTHX_ block);
        if (strEQ(SvPV_nolen_const(name), "wait")) {
            if (SvOK(value))
                *act = SvTRUE(value) ? ESX_WAIT : ESX_SEND;
        }
        else if (strEQ(SvPV_nolen_const(name), "once")) {
            value = esx_read_text(aTHX_ "once", "once", value);
            if (SvOK(value))
                *once = value;
        }
        else
            esx_croak(aTHX_ ESX_CODE_INVALID, name,
                sv_2mortal(Perl_newSVpvf(aTHX_ "EventSource::Hub: unknown option '%" SVf "' of publish; known: once, wait",
                    SVfARG(name))));
    }
}

/* Completes the snapshot of an event, as the native hub takes it. Croaks if a field is wrong. */
static void
esx_publication_complete(pTHX_ esx_publication *publication, esx_block *block, int strings, SV *once)
{
    esx_report report;

    (void)esx_block_measure(aTHX_ block, strings, ESX_LF, NULL, 0, NULL, &report);
    publication->channel = esx_name_if(aTHX_ block->texts[ESX_CHANNEL_TEXT]);
    publication->key = esx_name_if(aTHX_ block->texts[ESX_KEY_TEXT]);
    publication->once = esx_name_if(aTHX_ once);
    publication->fields = block->fields;
    publication->len = block->len;
}

/* Publishes a snapshot, or checks it. Returns the event's id: the application's scalar, or the target. Returns true if the call
 * does not wait for the id, and undef if the process ends. */
static SV *
esx_publish(pTHX_ void *hub, const esx_publication *publication, SV *target)
{
    char id[ESX_ID_MAX];
    esx_report report;
    size_t at;
    SV *given = NULL;
    int status;

    for (at = 0; at < publication->len; at++)
        if (publication->fields[at].name == ESX_ID)
            given = newSVpvn_flags(publication->fields[at].text, publication->fields[at].len,
                SVs_TEMP | (publication->fields[at].utf8 ? SVf_UTF8 : 0));
    status = esx_hub_publish(hub, publication, id, &report);
    if (status == ESX_ENDING)
        return &PL_sv_undef;
    esx_check(aTHX_ status, &report, "EventSource::Hub");
    if (publication->act != ESX_WAIT)
        return &PL_sv_yes;
    if (given)
        return given;
    sv_setpvn(target, id, report.size);
    SvUTF8_off(target);
    SvTAINTED_off(target);
    SvSETMAGIC(target);
    return target;
}

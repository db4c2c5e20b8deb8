/* Hubs: objects with a publisher behind them. handle.h describes such objects. */

ESX_HANDLE(hub)
ESX_HANDLE(lease)
ESX_HANDLE_OF(hub, ESX_CODE_INVALID, "EventSource::Hub: this is not a hub; make one with EventSource::Hub->new")

/* The longest name of a channel, in bytes of UTF-8, and the longest id. */
enum { ESX_NAME_MAX = 1024 };

/* The longest key for publishing an event once. */
enum { ESX_ONCE_MAX = 256 };

static const esx_text esx_nothing = {"", 0};

/* Returns a string's characters as UTF-8. Runs no Perl code if the string is plain. */
static esx_text
esx_text_as(pTHX_ SV *sv, bool is_name)
{
    esx_text text;
    STRLEN len;
    text.text = SvPV_nomg_const(sv, len);
    if (!SvUTF8(sv) && !is_ascii_string((const U8 *)text.text, len) && !(is_name && esx_is_name_in_bytes(sv))) {
        sv = newSVpvn_flags(text.text, len, SVs_TEMP);
        sv_utf8_upgrade(sv);
        text.text = SvPV_nomg_const(sv, len);
    }
    text.len = len;
    return text;
}

#define esx_text_of(sv) esx_text_as(sv, FALSE)
#define esx_name_of(sv) esx_text_as(sv, TRUE)

/* Reads one setting that is a string. */
static esx_text
esx_setting_text(pTHX_ HV *settings, const char *name)
{
    SV *value = esx_setting(aTHX_ settings, name);
    return esx_text_of(aTHX_ esx_string(aTHX_ value));
}

/* Reads one setting that is a path: the bytes that perl gives to the system. Bytes of UTF-8 are not encoded once more. */
static esx_text
esx_setting_path(pTHX_ HV *settings, const char *name)
{
    SV *value = esx_string(aTHX_ esx_setting(aTHX_ settings, name));
    esx_text path;
    STRLEN len;
    path.text = SvPV_nomg_const(value, len);
    path.len = len;
    return path;
}

/* Returns the bytes of a string. Croaks if it has other characters. */
static esx_text
esx_bytes_of(pTHX_ SV *string)
{
    esx_text bytes;
    STRLEN len;
    bytes.text = SvPVbyte(string, len);
    bytes.len = len;
    return bytes;
}

/* Reads one setting that is bytes. */
static esx_text
esx_setting_bytes(pTHX_ HV *settings, const char *name)
{
    return esx_bytes_of(aTHX_ esx_string(aTHX_ esx_setting(aTHX_ settings, name)));
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

/* Snapshots the arguments of EventSource::Hub::publish: a channel, and data or a hash of fields. */
static void
esx_snapshot_publish(pTHX_ esx_block *block, int *strings, uint8_t *retain)
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
    *retain = esx_block_read_retain(aTHX_ block, given[GIVEN_RETAIN]);
    esx_event_add(aTHX_ block, given, strings);
}

/* Reads the options of EventSource::Hub::publish. The key `once` stays NULL if there is none. Its characters are copied. */
static void
esx_snapshot_publish_options(pTHX_ esx_block *block, SV *options, SV **once, bool *waits)
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
                *waits = cBOOL(SvTRUE(value));
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

static esx_text
esx_channel_of(pTHX_ SV *name)
{
    const esx_text text = SvOK(name) ? esx_name_of(aTHX_ name) : esx_nothing;
    if (!text.len)
        esx_croakf(ESX_CODE_INVALID, "channel",
            "EventSource::Hub: a channel's name must be a string that is not empty");
    if (text.len > ESX_NAME_MAX)
        esx_croakf(ESX_CODE_INVALID, "channel",
            "EventSource::Hub: a channel's name must have at most %d bytes in UTF-8", ESX_NAME_MAX);
    return text;
}

/* The snapshot of an event, as the native hub takes it. Croaks if a name or a field is wrong. */
static esx_publication
esx_publication_of(pTHX_ esx_block *block, int strings, uint8_t retain, SV *once)
{
    SV *const key = block->texts[ESX_KEY_TEXT];
    esx_publication publication;
    esx_report report;

    (void)esx_block_measure(aTHX_ block, strings, ESX_LF, NULL, 0, NULL, &report);
    publication.channel = esx_channel_of(aTHX_ block->texts[ESX_CHANNEL_TEXT]);
    publication.key = key && SvOK(key) ? esx_name_of(aTHX_ key) : esx_nothing;
    if (publication.key.len > ESX_NAME_MAX)
        esx_croakf(ESX_CODE_INVALID, "key", "EventSource::Hub: key must have at most %d bytes in UTF-8", ESX_NAME_MAX);
    publication.once = esx_nothing;
    if (once) {
        publication.once = esx_name_of(aTHX_ once);
        if (!publication.once.len || publication.once.len > ESX_ONCE_MAX)
            esx_croakf(ESX_CODE_INVALID, "once", "EventSource::Hub: once must have 1 to %d bytes in UTF-8", ESX_ONCE_MAX);
    }
    publication.waits = TRUE;
    publication.retain = retain;
    publication.fields = block->fields;
    publication.len = block->len;
    return publication;
}

/* Publishes a snapshot. Returns the event's id: the application's scalar, or the target. Returns true if the call does not wait
 * for the id, and undef if the process ends. */
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
    if (!publication->waits)
        return &PL_sv_yes;
    if (given)
        return given;
    sv_setpvn(target, id, report.size);
    SvUTF8_off(target);
    SvTAINTED_off(target);
    SvSETMAGIC(target);
    return target;
}

/* Copies the names in an array, and the patterns, which are references to their texts. Each is read once. The copies are
 * plain strings or undefined. After each copy comes true for a pattern, false for a name. */
static AV *
esx_snapshot_topics(pTHX_ AV *names)
{
    AV *read = (AV *)sv_2mortal((SV *)newAV());
    SSize_t at;
    esx_keep_alive(aTHX_ (SV *)names);
    for (at = 0; at <= av_len(names); at++) { /* the length is read anew: Perl code may have changed the array */
        SV **element = av_fetch(names, at, 0);
        SV *name = element ? esx_read(aTHX_ *element) : &PL_sv_undef;
        const bool is_pattern = SvROK(name);
        if (is_pattern) {
            if (SvTYPE(SvRV(name)) >= SVt_PVAV)
                esx_croakf(ESX_CODE_INVALID, "channel",
                    "EventSource::Hub: a pattern must be a string, not a reference to %s", sv_reftype(SvRV(name), FALSE));
            name = esx_read(aTHX_ SvRV(name));
        }
        if (SvOK(name))
            name = esx_string(aTHX_ name);
        av_push(read, SvREFCNT_inc_simple_NN(name));
        av_push(read, is_pattern ? &PL_sv_yes : &PL_sv_no);
    }
    return read;
}

/* Returns pointers to the snapshots of topics, in the buffer of a mortal. Runs no Perl code. */
static esx_topic *
esx_topics_of(pTHX_ AV *read, size_t *len)
{
    const SSize_t count = (av_len(read) + 1) / 2;
    SV *buffer = sv_2mortal(newSV((size_t)(count + 1) * sizeof(esx_topic)));
    esx_topic *topics = (esx_topic *)SvPVX(buffer);
    SSize_t at;
    for (at = 0; at < count; at++) {
        topics[at].is_pattern = AvARRAY(read)[2 * at + 1] == &PL_sv_yes;
        topics[at].name = esx_channel_of(aTHX_ AvARRAY(read)[2 * at]);
    }
    *len = (size_t)count;
    return topics;
}

/* Returns pointers to the snapshots of texts in an array, in the buffer of a mortal; none if it is not an array. Runs the Perl
 * code of the texts, once. */
static const esx_text *
esx_array_texts(pTHX_ SV *given, size_t *len)
{
    AV *array = esx_plain_array(esx_read(aTHX_ given));
    AV *read;
    SV *buffer;
    esx_text *texts;
    SSize_t at, count;
    *len = 0;
    if (!array)
        return NULL;
    read = (AV *)sv_2mortal((SV *)newAV());
    esx_keep_alive(aTHX_ (SV *)array);
    for (at = 0; at <= av_len(array); at++) {
        SV **element = av_fetch(array, at, 0);
        SV *text = esx_string(aTHX_ esx_read(aTHX_ element ? *element : &PL_sv_no));
        av_push(read, SvREFCNT_inc_simple_NN(text));
    }
    count = av_len(read) + 1;
    buffer = sv_2mortal(newSV((size_t)(count + 1) * sizeof(esx_text)));
    texts = (esx_text *)SvPVX(buffer);
    for (at = 0; at < count; at++)
        texts[at] = esx_text_of(aTHX_ AvARRAY(read)[at]);
    *len = (size_t)count;
    return texts;
}

/* The id that a client has sent, without text if there is none. */
static esx_text
esx_id_of(pTHX_ SV *id)
{
    esx_text text = {NULL, 0};
    id = esx_read(aTHX_ id);
    if (SvOK(id))
        text = esx_text_of(aTHX_ esx_string(aTHX_ id));
    if (text.len > ESX_NAME_MAX)
        text.len = ESX_NAME_MAX + 1; /* no event has a longer id, so the cut one is unknown too */
    return text;
}

/* Reads what is of the request, also if the rest is a ticket's. */
static void
esx_read_of_request(pTHX_ esx_request *request, HV *hash)
{
    SV *retry = esx_setting(aTHX_ hash, "retry");
    SV *poll_wait = esx_setting(aTHX_ hash, "poll_wait");
    request->has_retry = cBOOL(SvOK(retry));
    request->retry = request->has_retry ? (uint64_t)SvUV(retry) : 0;
    request->poll_wait = SvOK(poll_wait) ? SvNV(poll_wait) : -1;
    request->poll_reason = request->poll_wait < 0 ? 0 : (uint8_t)esx_setting_uv(aTHX_ hash, "poll_reason");
}

/* Reads a subscription, as EventSource::Hub gives it. */
static esx_request
esx_request_of(pTHX_ SV *names, SV *after, SV *options)
{
    esx_request request;
    AV *array = esx_plain_array(esx_read(aTHX_ names));
    AV *labels;
    HV *hash;
    SV *max_age;
    if (!array)
        esx_croakf(ESX_CODE_INVALID, NULL, "EventSource::Hub: _subscribe takes an array of names");
    array = esx_snapshot_topics(aTHX_ array);
    request.after = esx_id_of(aTHX_ after);
    hash = esx_settings(aTHX_ options);
    esx_read_of_request(aTHX_ &request, hash);
    request.position = (uint8_t)esx_setting_uv(aTHX_ hash, "position");
    request.keeps_id = esx_setting_is(aTHX_ hash, "keeps_id");
    max_age = esx_setting(aTHX_ hash, "max_age");
    request.max_age = SvOK(max_age) ? SvNV(max_age) : -1;
    request.asked_at = (uint64_t)esx_setting_uv(aTHX_ hash, "asked_at");
    labels = esx_plain_array(esx_setting(aTHX_ hash, "labels"));
    request.labels = NULL;
    request.labels_len = 0;
    if (labels)
        request.labels = esx_topics_of(aTHX_ esx_snapshot_topics(aTHX_ labels), &request.labels_len);
    request.member = esx_array_texts(aTHX_ esx_setting(aTHX_ hash, "member"), &request.member_len);
    request.will = esx_array_texts(aTHX_ esx_setting(aTHX_ hash, "will"), &request.will_len);
    request.start = (uint8_t)esx_setting_uv(aTHX_ hash, "start");
    request.last = esx_setting_uv(aTHX_ hash, "last");
    request.starts = esx_array_texts(aTHX_ esx_setting(aTHX_ hash, "starts"), &request.starts_len);
    request.topics = esx_topics_of(aTHX_ array, &request.len);
    return request;
}

/* Returns a new reference to an array of the texts of a handle, as bytes or as characters (SVf_UTF8), and frees the handle.
 * Dies with the error that Rust reports if there is no handle. */
static SV *
esx_texts(pTHX_ void *texts, const esx_report *report, const char *module, U32 flags)
{
    AV *all;
    size_t at;
    if (!texts)
        esx_croak_report(aTHX_ report, module, NULL);
    all = newAV();
    for (at = 0; at < report->size; at++) {
        const esx_text text = esx_texts_at(texts, at);
        av_push(all, newSVpvn_flags(text.text, text.len, flags));
    }
    esx_texts_drop(texts);
    return newRV_noinc((SV *)all);
}

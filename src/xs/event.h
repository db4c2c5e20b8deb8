/* Snapshots of the arguments of the functions that encode an event. For the parameter `copies` see snapshot.h. */

/* The variants of EventSource::XS::_push_bytes: for a stream with subscriptions, and with lines that end in LF. */
enum esx_push { ESX_PUSH_IN_HUB = 1, ESX_PUSH_LF = 2 };

/* The names that a hash of fields may have: the fields, in the order in which format_event sends them, and options. A key
 * is not sent, nor whether the event is retained; only a published event may have them. */
enum esx_key { KEY_COMMENT, KEY_EVENT, KEY_ID, KEY_RETRY, KEY_DATA, KEY_JSON, KEY_BYTES, GIVEN_KEY, GIVEN_RETAIN, KEYS };

static const char *const esx_keys[KEYS] = {"comment", "event", "id", "retry", "data", "json", "bytes", "key", "retain"};

/* Comparing with a constant of a constant length is a word's comparison, not a call. */
static int
esx_key_of(const char *name, STRLEN len)
{
    switch (len) {
    case 2:
        return memEQ(name, "id", 2) ? KEY_ID : -1;
    case 4:
        return memEQ(name, "data", 4) ? KEY_DATA : memEQ(name, "json", 4) ? KEY_JSON : -1;
    case 5:
        return memEQ(name, "event", 5) ? KEY_EVENT
            : memEQ(name, "retry", 5) ? KEY_RETRY
            : memEQ(name, "bytes", 5) ? KEY_BYTES
            : -1;
    case 7:
        return memEQ(name, "comment", 7) ? KEY_COMMENT : -1;
    default:
        return -1;
    }
}

/* As esx_key_of, for a scalar. One that is not a plain string is read, and replaced by its string. */
static int
esx_key_of_name(pTHX_ SV **name, bool is_published)
{
    const char *bytes;
    STRLEN len;
    if (!esx_is_plain(*name))
        *name = esx_string(aTHX_ esx_read(aTHX_ *name));
    bytes = SvPV_nomg_const(*name, len);
    if (is_published && len == 3 && memEQ(bytes, "key", 3))
        return GIVEN_KEY;
    if (is_published && len == 6 && memEQ(bytes, "retain", 6))
        return GIVEN_RETAIN;
    return esx_key_of(bytes, len);
}

/* True if names and values, or a single hash, can be read without running Perl code. An undefined name is not plain: perl
 * warns of it, and the warning may have a handler. */
static bool
esx_args_are_plain(pTHX_ I32 ax, I32 from, I32 items)
{
    I32 at;
    for (at = from; at < items; at++) {
        SV *sv = PL_stack_base[ax + at];
        const bool is_name = !((at - from) & 1) && !(items == 1 && esx_plain_hash(sv));
        if (SvGMAGICAL(sv) || (is_name && !esx_is_plain(sv)))
            return FALSE;
    }
    return TRUE;
}

static void
esx_keep_args_alive(pTHX_ I32 ax, I32 from, I32 items)
{
    I32 at;
    for (at = from; at < items; at++)
        PL_stack_base[ax + at] = esx_keep_alive(aTHX_ PL_stack_base[ax + at]);
}

/* Croaks. The message is made in Perl, which may run now: nothing is read any more. */
static void ESX_DIES
esx_croak_unknown_field(pTHX_ SV *name, int function)
{
    SV *arguments[2];
    arguments[0] = name = sv_2mortal(newSVsv(name));
    arguments[1] = sv_2mortal(newSVpv(esx_functions[function], 0));
    esx_croak(aTHX_ ESX_CODE_INVALID, name, esx_call(aTHX_ "EventSource::XS::_unknown_field", 2, arguments));
}

/* Keeps the name of an unknown field of a drop-in, of which esx_warn_unknown_fields warns. With copies only. */
static void ESX_WARNS
esx_keep_unknown(pTHX_ AV **unknown, SV *name)
{
    if (!*unknown)
        *unknown = (AV *)sv_2mortal((SV *)newAV());
    av_push(*unknown, newSVsv(name));
}

static void ESX_WARNS
esx_warn_unknown_fields(pTHX_ AV *unknown, int function)
{
    esx_warn_once(aTHX_ "EventSource::XS::_warn_unknown_fields", sv_2mortal(newRV_inc((SV *)unknown)),
        esx_functions[function]);
}

/* True if the function has the field. The fields of as_string are those of the original. */
static bool
esx_has_field(int key, int function)
{
    return function == ESX_AS_STRING ? key >= KEY_EVENT && key <= KEY_DATA : key >= 0;
}

/* Fills given[] from a list of names and values; the last of a name counts, as in a hash. Returns false if it needs
 * copies, in order to warn. */
static bool
esx_given_by_list(pTHX_ bool copies, I32 ax, I32 from, I32 items, SV **given, int function)
{
    AV *unknown = NULL;
    I32 at;
    for (at = from; at < items; at += 2) {
        SV *name = PL_stack_base[ax + at];
        const int key = esx_key_of_name(aTHX_ &name, FALSE);
        if (esx_has_field(key, function))
            given[key] = at + 1 < items ? PL_stack_base[ax + at + 1] : &PL_sv_undef;
        else if (esx_is_strict(function))
            esx_croak_unknown_field(aTHX_ name, function);
        else if (!copies)
            return FALSE;
        else
            esx_keep_unknown(aTHX_ &unknown, name);
    }
    if (unknown)
        esx_warn_unknown_fields(aTHX_ unknown, function);
    return TRUE;
}

static void
esx_given_by_hash(pTHX_ HV *hash, SV **given, int function)
{
    AV *unknown = NULL;
    HE *entry;
    esx_keep_alive(aTHX_ (SV *)hash);
    hv_iterinit(hash);
    while ((entry = hv_iternext(hash))) {
        SV *name = hv_iterkeysv(entry);
        /* The value comes first: the name may run code that moves the iterator. */
        SV *value = esx_keep_alive(aTHX_ hv_iterval(hash, entry));
        const int key = esx_key_of_name(aTHX_ &name, function == ESX_PUBLISH);
        if (key >= 0)
            given[key] = value;
        else if (esx_is_strict(function))
            esx_croak_unknown_field(aTHX_ name, function);
        else
            esx_keep_unknown(aTHX_ &unknown, name);
    }
    if (unknown)
        esx_warn_unknown_fields(aTHX_ unknown, function);
}

/* Looks the fields of the original up in a hash with magic. A class that ties hashes may have no more than FETCH. Only one
 * that lists its keys may have other fields. */
static void
esx_given_by_tied_hash(pTHX_ HV *hash, SV **given)
{
    static const int keys[] = {KEY_EVENT, KEY_ID, KEY_DATA, KEY_RETRY};
    const MAGIC *tie = mg_find((SV *)hash, PERL_MAGIC_tied);
    SV *object = tie ? SvTIED_obj((SV *)hash, (MAGIC *)tie) : NULL;
    size_t at;
    if (!object || !sv_isobject(object) || gv_fetchmethod_autoload(SvSTASH(SvRV(object)), "FIRSTKEY", FALSE))
        esx_given_by_hash(aTHX_ hash, given, ESX_PUSH);
    for (at = 0; at < sizeof keys / sizeof *keys; at++) {
        SV **value = hv_fetch(hash, esx_keys[keys[at]], (I32)strlen(esx_keys[keys[at]]), 0);
        given[keys[at]] = value ? *value : NULL;
    }
}

/* Reads the options of an event: bytes, and json, whose text becomes the data. Sets the meaning of the strings, if it is
 * not the default. Returns false if it needs copies. */
static bool
esx_event_options(pTHX_ const esx_block *block, SV **given, int *strings)
{
    if (given[KEY_BYTES]) {
        if (!block->copies && (SvGMAGICAL(given[KEY_BYTES]) || SvROK(given[KEY_BYTES])))
            return FALSE; /* it may be overloaded */
        if (SvTRUE(given[KEY_BYTES]))
            *strings = ESX_BYTES;
    }
    if (given[KEY_JSON]) {
        if (!block->copies)
            return FALSE;
        if (given[KEY_DATA])
            esx_croakf(ESX_CODE_INVALID, "json", "EventSource::XS: data and json exclude each other");
        if (*strings == ESX_BYTES)
            esx_croakf(ESX_CODE_INVALID, "bytes",
                "EventSource::XS: json is made of characters, bytes does not go with it");
        given[KEY_DATA] = esx_call(aTHX_ "EventSource::XS::_json", 1, &given[KEY_JSON]); /* characters */
    }
    return TRUE;
}

/* The fields of one event, given by their names. */
static bool
esx_event_add(pTHX_ esx_block *block, SV **given, int *strings)
{
    int key;
    *strings = ESX_CHARACTERS;
    if (!esx_event_options(aTHX_ block, given, strings))
        return FALSE;
    for (key = KEY_COMMENT; key <= KEY_DATA; key++) {
        static const int names[] = {ESX_COMMENT, ESX_EVENT, ESX_ID, ESX_RETRY, ESX_DATA};
        if (!esx_block_add_given(aTHX_ block, names[key], esx_keys[key], given[key], ESX_FORMAT_EVENT))
            return FALSE;
    }
    if (esx_is_debugging)
        esx_block_suspect(aTHX_ block, *strings);
    return TRUE;
}

/* EventSource::XS::format_event: a hash, or names and values. */
static bool
esx_snapshot_event(pTHX_ esx_block *block, bool copies, I32 ax, I32 items, int *strings)
{
    SV *given[KEYS] = {NULL};
    HV *hash = NULL;
    esx_block_init(block, copies);
    if (copies)
        esx_keep_args_alive(aTHX_ ax, 0, items);
    else if (!esx_args_are_plain(aTHX_ ax, 0, items))
        return FALSE;
    if (items == 1)
        hash = esx_plain_hash(copies ? esx_read(aTHX_ ST(0)) : ST(0));
    if (hash) {
        if (!copies && SvRMAGICAL(hash))
            return FALSE;
        esx_given_by_hash(aTHX_ hash, given, ESX_FORMAT_EVENT);
    }
    else if (items % 2)
        esx_croakf(ESX_CODE_INVALID, NULL,
            "EventSource::XS: format_event takes a hash reference, or names and values in pairs");
    else
        esx_given_by_list(aTHX_ copies, ax, 0, items, given, ESX_FORMAT_EVENT);
    return esx_event_add(aTHX_ block, given, strings);
}

/* HTTP::ServerEvent->as_string: event, id, retry and data, whose lines are split as that module does. */
static bool
esx_snapshot_server_event(pTHX_ esx_block *block, bool copies, I32 ax, I32 items)
{
    SV *given[KEYS] = {NULL};
    esx_block_init(block, copies);
    if (copies)
        esx_keep_args_alive(aTHX_ ax, 1, items);
    else if (!esx_args_are_plain(aTHX_ ax, 1, items))
        return FALSE;
    return esx_given_by_list(aTHX_ copies, ax, 1, items, given, ESX_AS_STRING)
        && esx_block_add_given(aTHX_ block, ESX_EVENT, "event", given[KEY_EVENT], ESX_AS_STRING)
        && esx_block_add_given(aTHX_ block, ESX_ID, "id", given[KEY_ID], ESX_AS_STRING)
        && esx_block_add_given(aTHX_ block, ESX_RETRY_LINE, "retry", given[KEY_RETRY], ESX_AS_STRING)
        && esx_block_add_given(aTHX_ block, ESX_DATA_TRIMMED, "data", given[KEY_DATA], ESX_AS_STRING);
}

static SV *
esx_server_event_error(pTHX_ const esx_block *block, size_t at)
{
    const esx_field *field = &block->fields[at];
    SV *value = newSVpvn_flags(field->text, field->len, SVs_TEMP | (field->utf8 ? SVf_UTF8 : 0));
    return sv_2mortal(Perl_newSVpvf(aTHX_
        "Newline or null detected in event type '%" SVf "'. Possible event injection.", SVfARG(value)));
}

/* The fields of one message of a push, in the order in which they are sent. */
static bool
esx_message_add(pTHX_ esx_block *block, SV **given)
{
    static const struct {
        int key, name;
    } fields[] = {{KEY_COMMENT, ESX_COMMENT}, {KEY_EVENT, ESX_EVENT}, {KEY_ID, ESX_ID}, {KEY_DATA, ESX_DATA},
        {KEY_RETRY, ESX_RETRY_LINE}};
    const size_t before = block->len;
    size_t at;
    int strings = ESX_AS_IS;

    if ((given[KEY_BYTES] || given[KEY_JSON]) && !esx_event_options(aTHX_ block, given, &strings))
        return FALSE;
    for (at = 0; at < sizeof fields / sizeof *fields; at++) {
        const int key = fields[at].key;
        if (given[key] && !esx_block_add_given(aTHX_ block, fields[at].name, esx_keys[key], given[key], ESX_PUSH))
            return FALSE;
        if (key == KEY_DATA && given[KEY_JSON])
            block->fields[block->len - 1].strings = ESX_CHARACTERS;
    }
    if (strings != ESX_AS_IS)
        for (at = before; at < block->len; at++)
            block->fields[at].strings = (uint8_t)strings;
    if (block->len == before)
        esx_block_append(aTHX_ block, ESX_BLANK, NULL);
    return TRUE;
}

/* Looks the fields of a message up that need no copies. Returns false if the hash has others. */
static bool
esx_given_by_message(pTHX_ HV *hash, SV **given)
{
    static const struct {
        const char *name;
        I32 len;
        int key;
    } fields[] = {{"data", 4, KEY_DATA}, {"event", 5, KEY_EVENT}, {"id", 2, KEY_ID}, {"retry", 5, KEY_RETRY},
        {"comment", 7, KEY_COMMENT}, {"bytes", 5, KEY_BYTES}};
    size_t left = (size_t)HvUSEDKEYS(hash), at;
    for (at = 0; left && at < sizeof fields / sizeof *fields; at++) {
        SV **value = hv_fetch(hash, fields[at].name, fields[at].len, 0);
        if (value) {
            given[fields[at].key] = *value;
            left--;
        }
    }
    return !left;
}

/* One message of a push, from a hash without magic. Most have fields of the original only. Lookups are faster than an
 * iteration, which allocates. */
static bool
esx_message_of_hash(pTHX_ esx_block *block, HV *hash)
{
    static const struct {
        const char *key;
        I32 len;
        int name;
    } fields[] = {{"event", 5, ESX_EVENT}, {"id", 2, ESX_ID}, {"data", 4, ESX_DATA}, {"retry", 5, ESX_RETRY_LINE}};
    SV *given[KEYS] = {NULL};
    const size_t before = block->len;
    size_t left = (size_t)HvUSEDKEYS(hash), at;

    for (at = 0; left && at < sizeof fields / sizeof *fields; at++) {
        SV **value = hv_fetch(hash, fields[at].key, fields[at].len, 0);
        if (!value)
            continue;
        left--;
        if (!esx_block_add_given(aTHX_ block, fields[at].name, fields[at].key, *value, ESX_PUSH))
            return FALSE;
    }
    if (left) {
        block->len = before;
        return esx_given_by_message(aTHX_ hash, given) && esx_message_add(aTHX_ block, given);
    }
    if (block->len == before)
        esx_block_append(aTHX_ block, ESX_BLANK, NULL);
    return TRUE;
}

/* One message of a push: a hash of fields, an array of data, or data. */
static bool
esx_snapshot_message(pTHX_ esx_block *block, SV *message)
{
    HV *hash;

    if (!block->copies && esx_is_plain(message)) {
        esx_block_append(aTHX_ block, ESX_DATA, message);
        return TRUE;
    }
    if (block->copies)
        message = esx_read(aTHX_ message);
    else if (SvGMAGICAL(message))
        return FALSE;
    if (!SvOK(message)) {
        esx_block_append(aTHX_ block, ESX_DATA, NULL);
        return TRUE;
    }
    hash = esx_plain_hash(message);
    if (!hash)
        return esx_block_add_given(aTHX_ block, ESX_DATA, "data", message, ESX_PUSH);
    if (block->copies) {
        SV *given[KEYS] = {NULL};
        if (SvRMAGICAL(hash))
            esx_given_by_tied_hash(aTHX_ hash, given);
        else
            esx_given_by_hash(aTHX_ hash, given, ESX_PUSH);
        return esx_message_add(aTHX_ block, given);
    }
    return !SvRMAGICAL(hash) && esx_message_of_hash(aTHX_ block, hash);
}

/* True if a push has an even number of messages and the first is the name of a field: names and values that are not in a
 * hash. */
static bool
esx_has_bare_fields(pTHX_ I32 ax, I32 items)
{
    const char *bytes;
    STRLEN len;
    if (items < 3 || !(items & 1) || !esx_is_plain(ST(1)))
        return FALSE;
    bytes = SvPV_nomg_const(ST(1), len);
    return esx_key_of(bytes, len) >= 0;
}

/* A push: all of its messages are one block. The first argument is not a message. It is kept alive as well, because the
 * XSUB uses it after all messages have been read. */
static bool
esx_snapshot_push(pTHX_ esx_block *block, bool copies, I32 ax, I32 items, int strings)
{
    I32 at;
    esx_block_init(block, copies);
    if (copies)
        esx_keep_args_alive(aTHX_ ax, 0, items);
    for (at = 1; at < items; at++)
        if (!esx_snapshot_message(aTHX_ block, ST(at)))
            return FALSE;
    if (esx_has_bare_fields(aTHX_ ax, items)) {
        if (!copies)
            return FALSE;
        esx_warn_once(aTHX_ "EventSource::XS::_warn_bare_fields", ST(1), "push");
    }
    if (esx_is_debugging)
        esx_block_suspect(aTHX_ block, strings);
    return TRUE;
}

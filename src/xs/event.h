/* Snapshots of the arguments of the functions that encode an event. snapshot.h says how they are read. */

/* The variants of EventSource::XS::_push_bytes: for a stream with subscriptions, and with lines that end in LF. */
enum esx_push { ESX_PUSH_IN_HUB = 1, ESX_PUSH_LF = 2 };

static const char *const esx_keys[KEYS] = {"comment", "event", "id", "retry", "data", "json", "bytes", "key", "retain"};

/* Comparing with a constant of a constant length is a word's comparison, not a call. */
ESX_INLINE int
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

/* As esx_key_of, for a scalar. One that is not a plain string is read, and replaced by its string: perl warns of an undefined
 * one, too, and the warning may have a handler. */
static int
esx_key_of_name(pTHX_ esx_block *block, SV **name, bool is_published)
{
    const char *bytes;
    STRLEN len;
    if (!esx_is_plain(*name)) {
        esx_block_detach(aTHX_ block);
        *name = esx_string(aTHX_ esx_read(aTHX_ *name));
    }
    bytes = SvPV_nomg_const(*name, len);
    if (is_published && len == 3 && memEQ(bytes, "key", 3))
        return GIVEN_KEY;
    if (is_published && len == 6 && memEQ(bytes, "retain", 6))
        return GIVEN_RETAIN;
    return esx_key_of(bytes, len);
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

/* Keeps the name of an unknown field of a drop-in, of which esx_warn_unknown_fields warns. */
static void ESX_WARNS
esx_keep_unknown(pTHX_ AV **unknown, SV *name)
{
    if (!*unknown)
        *unknown = (AV *)sv_2mortal((SV *)newAV());
    av_push(*unknown, newSVsv(name));
}

static void ESX_WARNS
esx_warn_unknown_fields(pTHX_ esx_block *block, AV *unknown, int function)
{
    esx_block_detach(aTHX_ block);
    esx_warn_once(aTHX_ "EventSource::XS::_warn_unknown_fields", sv_2mortal(newRV_inc((SV *)unknown)),
        esx_functions[function]);
}

/* True if the function has the field. The fields of as_string are those of the original. */
static bool
esx_has_field(int key, int function)
{
    return function == ESX_AS_STRING ? key >= KEY_EVENT && key <= KEY_DATA : key >= 0;
}

/* Sets the value of a field. One that is unknown is an error, or is kept. */
ESX_INLINE void
esx_give(pTHX_ SV **given, int key, SV *name, SV *value, int function, AV **unknown)
{
    if (esx_has_field(key, function))
        given[key] = value;
    else if (esx_is_strict(function))
        esx_croak_unknown_field(aTHX_ name, function);
    else
        esx_keep_unknown(aTHX_ unknown, name);
}

/* Fills given[] from the arguments, which are names and values; the last of a name counts, as in a hash. */
static void
esx_given_by_list(pTHX_ esx_block *block, I32 from, SV **given, int function)
{
    AV *unknown = NULL;
    I32 at;
    block->given = given;
    for (at = from; at < block->items; at += 2) {
        SV *name = PL_stack_base[block->ax + at];
        const int key = esx_key_of_name(aTHX_ block, &name, FALSE);
        SV *value = at + 1 < block->items ? PL_stack_base[block->ax + at + 1] : &PL_sv_undef;
        esx_give(aTHX_ given, key, name, value, function, &unknown);
    }
    if (unknown)
        esx_warn_unknown_fields(aTHX_ block, unknown, function);
}

/* Fills given[] from a hash. */
static void
esx_given_by_hash(pTHX_ esx_block *block, HV *hash, SV **given, int function)
{
    AV *unknown = NULL;
    HE *entry;
    block->given = given;
    if (SvRMAGICAL(hash))
        esx_block_detach(aTHX_ block);
    if (block->is_detached)
        esx_keep_alive(aTHX_ (SV *)hash);
    hv_iterinit(hash);
    while ((entry = hv_iternext(hash))) {
        SV *name = hv_iterkeysv(entry);
        /* The value comes first: the name may run code that moves the iterator. */
        SV *value = hv_iterval(hash, entry);
        int key;
        if (block->is_detached)
            value = esx_keep_alive(aTHX_ value);
        key = esx_key_of_name(aTHX_ block, &name, function == ESX_PUBLISH);
        esx_give(aTHX_ given, key, name, value, function, &unknown);
    }
    if (unknown)
        esx_warn_unknown_fields(aTHX_ block, unknown, function);
}

/* Looks the fields of a push up: that is faster than an iteration, which allocates. Returns false if the hash has others. */
static bool
esx_given_by_names(pTHX_ HV *hash, SV **given)
{
    static const int keys[] = {KEY_DATA, KEY_EVENT, KEY_ID, KEY_RETRY, KEY_COMMENT, KEY_BYTES};
    static const I32 lens[] = {4, 5, 2, 5, 7, 5};
    size_t left = (size_t)HvUSEDKEYS(hash), at;
    for (at = 0; left && at < sizeof keys / sizeof *keys; at++) {
        SV **value = hv_fetch(hash, esx_keys[keys[at]], lens[at], 0);
        if (value) {
            given[keys[at]] = *value;
            left--;
        }
    }
    return !left;
}

/* Looks the fields of the original up in a hash with magic. A class that ties hashes may have no more than FETCH. Only one
 * that lists its keys may have other fields. */
static void
esx_given_by_tied_hash(pTHX_ esx_block *block, HV *hash, SV **given)
{
    static const int keys[] = {KEY_EVENT, KEY_ID, KEY_DATA, KEY_RETRY};
    const MAGIC *tie = mg_find((SV *)hash, PERL_MAGIC_tied);
    SV *object = tie ? SvTIED_obj((SV *)hash, (MAGIC *)tie) : NULL;
    size_t at;
    esx_block_detach(aTHX_ block);
    esx_keep_alive(aTHX_ (SV *)hash);
    if (!object || !sv_isobject(object) || gv_fetchmethod_autoload(SvSTASH(SvRV(object)), "FIRSTKEY", FALSE))
        esx_given_by_hash(aTHX_ block, hash, given, ESX_PUSH);
    for (at = 0; at < sizeof keys / sizeof *keys; at++) {
        SV **value = hv_fetch(hash, esx_keys[keys[at]], (I32)strlen(esx_keys[keys[at]]), 0);
        given[keys[at]] = value ? *value : NULL;
    }
}

/* Reads the options of an event: bytes, and json, whose text becomes the data. Sets the meaning of the strings, if it is
 * not the default. */
static void
esx_event_options(pTHX_ esx_block *block, SV **given, int *strings)
{
    if (given[KEY_BYTES]) {
        if (SvGMAGICAL(given[KEY_BYTES]) || SvROK(given[KEY_BYTES])) /* it may be overloaded */
            esx_block_detach(aTHX_ block);
        if (SvTRUE(given[KEY_BYTES]))
            *strings = ESX_BYTES;
    }
    if (given[KEY_JSON]) {
        esx_block_detach(aTHX_ block);
        if (given[KEY_DATA])
            esx_croakf(ESX_CODE_INVALID, "json", "EventSource::XS: data and json exclude each other");
        if (*strings == ESX_BYTES)
            esx_croakf(ESX_CODE_INVALID, "bytes",
                "EventSource::XS: json is made of characters, bytes does not go with it");
        given[KEY_DATA] = esx_call(aTHX_ "EventSource::XS::_json", 1, &given[KEY_JSON]); /* characters */
    }
}

/* The fields of one event, given by their names. */
static void
esx_event_add(pTHX_ esx_block *block, SV **given, int *strings)
{
    int key;
    *strings = ESX_CHARACTERS;
    esx_event_options(aTHX_ block, given, strings);
    for (key = KEY_COMMENT; key <= KEY_DATA; key++) {
        static const int names[] = {ESX_COMMENT, ESX_EVENT, ESX_ID, ESX_RETRY, ESX_DATA};
        esx_block_add_given(aTHX_ block, names[key], esx_keys[key], given[key], ESX_FORMAT_EVENT);
    }
    block->given = NULL;
    if (esx_is_debugging)
        esx_block_suspect(aTHX_ block, *strings);
}

/* The class of a call as a method: no field has this name. */
static bool
esx_is_class(pTHX_ SV *name)
{
    return SvPOK(name) && !SvGMAGICAL(name) && strEQ(SvPVX_const(name), "EventSource::XS");
}

/* EventSource::XS::format_event: a hash, or names and values. */
static void
esx_snapshot_event(pTHX_ esx_block *block, int *strings)
{
    SV *given[KEYS] = {NULL};
    HV *hash = NULL;
    if (block->items == 1)
        hash = esx_plain_hash(esx_block_read(aTHX_ block, PL_stack_base[block->ax]));
    if (hash)
        esx_given_by_hash(aTHX_ block, hash, given, ESX_FORMAT_EVENT);
    else if (block->items && esx_is_class(aTHX_ PL_stack_base[block->ax]))
        esx_croakf(ESX_CODE_INVALID, NULL,
            "EventSource::XS: format_event is a function, not a method: EventSource::XS::format_event(...)");
    else if (block->items % 2)
        esx_croakf(ESX_CODE_INVALID, NULL,
            "EventSource::XS: format_event takes a hash reference, or names and values in pairs");
    else
        esx_given_by_list(aTHX_ block, 0, given, ESX_FORMAT_EVENT);
    esx_event_add(aTHX_ block, given, strings);
}

/* HTTP::ServerEvent->as_string: event, id, retry and data, whose lines are split as that module does. */
static void
esx_snapshot_server_event(pTHX_ esx_block *block)
{
    SV *given[KEYS] = {NULL};
    esx_given_by_list(aTHX_ block, 1, given, ESX_AS_STRING);
    esx_block_add_given(aTHX_ block, ESX_EVENT, "event", given[KEY_EVENT], ESX_AS_STRING);
    esx_block_add_given(aTHX_ block, ESX_ID, "id", given[KEY_ID], ESX_AS_STRING);
    esx_block_add_given(aTHX_ block, ESX_RETRY_LINE, "retry", given[KEY_RETRY], ESX_AS_STRING);
    esx_block_add_given(aTHX_ block, ESX_DATA_TRIMMED, "data", given[KEY_DATA], ESX_AS_STRING);
    block->given = NULL;
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
static void
esx_message_add(pTHX_ esx_block *block, SV **given)
{
    static const struct {
        int key, name;
    } fields[] = {{KEY_COMMENT, ESX_COMMENT}, {KEY_EVENT, ESX_EVENT}, {KEY_ID, ESX_ID}, {KEY_DATA, ESX_DATA},
        {KEY_RETRY, ESX_RETRY_LINE}};
    const size_t before = block->len;
    size_t at;
    int strings = ESX_AS_IS;

    esx_event_options(aTHX_ block, given, &strings);
    for (at = 0; at < sizeof fields / sizeof *fields; at++) {
        const int key = fields[at].key;
        esx_block_add_given(aTHX_ block, fields[at].name, esx_keys[key], given[key], ESX_PUSH);
        if (key == KEY_DATA && given[KEY_JSON])
            block->fields[block->len - 1].strings = ESX_CHARACTERS;
    }
    if (strings != ESX_AS_IS)
        for (at = before; at < block->len; at++)
            block->fields[at].strings = (uint8_t)strings;
    if (block->len == before)
        esx_block_append(aTHX_ block, ESX_BLANK, NULL);
}

static void
esx_message_of_hash(pTHX_ esx_block *block, HV *hash)
{
    SV *given[KEYS] = {NULL};
    block->given = given;
    if (SvRMAGICAL(hash))
        esx_given_by_tied_hash(aTHX_ block, hash, given);
    else if (block->is_detached || !esx_given_by_names(aTHX_ hash, given))
        esx_given_by_hash(aTHX_ block, hash, given, ESX_PUSH);
    esx_message_add(aTHX_ block, given);
    block->given = NULL;
}

/* One message of a push: a hash of fields, an array of data, or data. */
static void
esx_snapshot_message(pTHX_ esx_block *block, SV *message)
{
    HV *hash;
    message = esx_block_read(aTHX_ block, message);
    hash = SvOK(message) ? esx_plain_hash(message) : NULL;
    if (hash)
        esx_message_of_hash(aTHX_ block, hash);
    else if (SvOK(message))
        esx_block_add_given(aTHX_ block, ESX_DATA, "data", message, ESX_PUSH);
    else
        esx_block_append(aTHX_ block, ESX_DATA, NULL);
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

/* A push: all of its messages are one block. The first argument is not a message. */
static void
esx_snapshot_push(pTHX_ esx_block *block, int strings)
{
    const I32 ax = block->ax;
    I32 at;
    for (at = 1; at < block->items; at++) {
        SV *message = ST(at);
        if (!block->is_detached && esx_is_plain(message)) /* most are */
            esx_block_append(aTHX_ block, ESX_DATA, message);
        else
            esx_snapshot_message(aTHX_ block, message);
    }
    if (esx_has_bare_fields(aTHX_ ax, block->items)) {
        esx_block_detach(aTHX_ block);
        esx_warn_once(aTHX_ "EventSource::XS::_warn_bare_fields", ST(1), "push");
    }
    if (esx_is_debugging)
        esx_block_suspect(aTHX_ block, strings);
}

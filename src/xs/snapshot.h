/* Perl's scalars as fields of a block: snapshot the arguments, then call.
 *
 * The first step reads the arguments. It runs whatever Perl code an argument can trigger (get magic, a tied FETCH, an
 * overloaded ""), and that code may die: only mortals and memory on the stack exist meanwhile. It may also change or free
 * the other arguments, which must not matter:
 *
 * - As long as every argument is a plain string or integer, no Perl code can run, and the block refers to the scalars
 *   themselves. Almost every call is of this kind.
 * - Before the first argument that is not, esx_block_detach keeps all arguments alive, and copies what the block has. From
 *   then on each value is read once and copied.
 *
 * The second step (esx_block_encode) passes pointers and lengths to Rust, and croaks only after Rust has returned. No Perl
 * code runs in it.
 */

/* True if EVENTSOURCE_XS_DEBUG was set when the library was loaded. Then every call detaches its arguments, so that Perl code
 * may run that warns of them. */
static int esx_is_debugging = 0;

#define ESX_BLOCK_SMALL 12
#define ESX_REPAIRED 3 /* esx_repair makes a text this many times longer at most: U+FFFD for one broken byte */
#define ESX_DIGITS 21 /* the length of the largest integer with its sign */

/* The names that a hash of fields may have: the fields, in the order in which format_event sends them, and options. A key
 * is not sent, nor whether the event is retained; only a published event may have them. */
enum esx_key { KEY_COMMENT, KEY_EVENT, KEY_ID, KEY_RETRY, KEY_DATA, KEY_JSON, KEY_BYTES, GIVEN_KEY, GIVEN_RETAIN, KEYS };

typedef struct {
    esx_field *fields;
    SV **values;    /* values[i] owns the text of fields[i]; NULL if the text is in digits[i], or if there is none */
    size_t len, room;
    bool is_detached; /* Perl code may have run: each value is a copy */
    bool has_self;    /* the first argument is an object, and not a value */
    I32 ax, items;    /* the arguments of the XSUB */
    SV **given;       /* the values of the hash that is being read, or NULL */
    AV *array;        /* the array that is being read, or NULL */
    SV *texts[2];     /* the channel and the key of a publish, or NULL */
    esx_field small_fields[ESX_BLOCK_SMALL];
    SV *small_values[ESX_BLOCK_SMALL];
    char digits[ESX_BLOCK_SMALL][ESX_DIGITS];
} esx_block;

/* Makes room for one more field. Beyond the small arrays the room is in mortals, so that a die frees it. */
static void ESX_RARE
esx_block_grow(pTHX_ esx_block *block)
{
    size_t room = block->room * 4;
    SV *fields = sv_2mortal(newSV(room * sizeof(esx_field)));
    SV *values = sv_2mortal(newSV(room * sizeof(SV *)));
    Copy(block->fields, SvPVX(fields), block->len, esx_field);
    Copy(block->values, SvPVX(values), block->len, SV *);
    block->fields = (esx_field *)SvPVX(fields);
    block->values = (SV **)SvPVX(values);
    block->room = room;
}

/* Points a field at the bytes of a string. They stay as they are until Perl code runs, before which esx_block_detach comes. */
ESX_INLINE void
esx_field_point(pTHX_ esx_field *field, SV *sv)
{
    STRLEN len;
    field->text = SvPV_nomg_const(sv, len);
    field->len = len;
    field->utf8 = SvUTF8(sv) ? 1 : 0;
}

/* Appends a field with a string, or with none if the value is NULL. */
ESX_INLINE esx_field *
esx_block_append(pTHX_ esx_block *block, int name, SV *value)
{
    esx_field *field;
    if (block->len == block->room)
        esx_block_grow(aTHX_ block);
    field = &block->fields[block->len];
    field->text = NULL;
    field->len = 0;
    field->name = (uint8_t)name;
    field->utf8 = 0;
    field->conversion = ESX_COPY;
    field->strings = ESX_AS_IS;
    if (value)
        esx_field_point(aTHX_ field, value);
    block->values[block->len++] = value;
    return field;
}

/* A string, or an integer, without any kind of magic: reading it runs no Perl code. */
#define esx_is_plain(sv) ((SvFLAGS(sv) & (SVf_POK | SVs_GMG | SVf_ROK)) == SVf_POK)
#define esx_is_integer(sv) \
    ((SvFLAGS(sv) & (SVf_IOK | SVf_POK | SVp_POK | SVf_NOK | SVs_GMG | SVf_ROK)) == SVf_IOK)

/* Keeps a scalar alive until the statement ends, whatever Perl code does to its owner. A scalar that is freed already
 * counts as undefined: perl's stack owns nothing, so evaluating a later argument may have freed it. This is a function
 * because perl's macro evaluates its argument twice. */
static SV *
esx_keep_alive(pTHX_ SV *sv)
{
    if (SvIS_FREED(sv))
        return &PL_sv_undef;
    return sv_2mortal(SvREFCNT_inc_simple_NN(sv));
}

static void
esx_keep_args_alive(pTHX_ I32 ax, I32 from, I32 items)
{
    I32 at;
    for (at = from; at < items; at++)
        PL_stack_base[ax + at] = esx_keep_alive(aTHX_ PL_stack_base[ax + at]);
}

/* Copies the value of an argument, running its magic once. Perl code that runs later may free the caller's variable, or assign
 * another object to it; the copy still refers to the first object, and keeps it alive. */
static SV *
esx_snapshot(pTHX_ SV *sv)
{
    SV *copy;
    sv = esx_keep_alive(aTHX_ sv);
    SvGETMAGIC(sv);
    copy = sv_newmortal();
    sv_setsv_flags(copy, sv, 0);
    return copy;
}

/* Reads a scalar, running its magic once. Returns the scalar itself, or a copy without magic. References stay references. */
static SV *
esx_read(pTHX_ SV *sv)
{
    sv = esx_keep_alive(aTHX_ sv);
    return SvGMAGICAL(sv) ? esx_snapshot(aTHX_ sv) : sv;
}

/* Copies the string of a value that esx_read returned. Overloading is called once. */
static SV *
esx_string(pTHX_ SV *sv)
{
    SV *string = sv_newmortal();
    if (SvROK(sv)) { /* perl writes to the reference after the overload, which may have assigned another value to it */
        SV *reference = sv_newmortal();
        sv_setsv_flags(reference, sv, 0);
        sv = reference;
    }
    sv_copypv_nomg(string, sv);
    return string;
}

/* "Names" in EventSource::Hub: a plain string without perl's flag for characters that is UTF-8 is a name in bytes. One with the
 * flag is never decoded: otherwise a user whose name looks encoded could take the name of another one. */
#define esx_is_name_in_bytes(sv) (!SvUTF8(sv) && esx_is_encoded(SvPVX_const(sv), SvCUR(sv), 0))

/* To be called before the first Perl code may run. Nothing that was read refers to a scalar of the caller afterwards, and what
 * is still to be read stays alive. ST(0) becomes a copy that keeps the object alive. */
static void
esx_block_detach(pTHX_ esx_block *block)
{
    size_t at;
    if (block->is_detached)
        return;
    block->is_detached = TRUE;
    esx_keep_args_alive(aTHX_ block->ax, 0, block->items);
    for (at = 0; block->given && at < KEYS; at++)
        if (block->given[at])
            block->given[at] = esx_keep_alive(aTHX_ block->given[at]);
    if (block->array)
        esx_keep_alive(aTHX_ (SV *)block->array);
    for (at = 0; at < block->len; at++)
        if (block->values[at]) {
            block->values[at] = esx_string(aTHX_ block->values[at]);
            esx_field_point(aTHX_ &block->fields[at], block->values[at]);
        }
    for (at = 0; at < 2; at++)
        if (block->texts[at])
            block->texts[at] = esx_string(aTHX_ block->texts[at]);
    if (block->has_self)
        PL_stack_base[block->ax] = esx_snapshot(aTHX_ PL_stack_base[block->ax]);
}

static void
esx_block_init(pTHX_ esx_block *block, I32 ax, I32 items, bool has_self)
{
    block->fields = block->small_fields;
    block->values = block->small_values;
    block->len = 0;
    block->room = ESX_BLOCK_SMALL;
    block->is_detached = FALSE;
    block->has_self = has_self;
    block->ax = ax;
    block->items = items;
    block->given = NULL;
    block->array = NULL;
    block->texts[0] = block->texts[1] = NULL;
    if (esx_is_debugging || (has_self && SvGMAGICAL(PL_stack_base[ax])))
        esx_block_detach(aTHX_ block);
}

/* Reads a value of an argument, as esx_read does. */
static SV *
esx_block_read(pTHX_ esx_block *block, SV *sv)
{
    if (!block->is_detached && !SvGMAGICAL(sv))
        return sv;
    esx_block_detach(aTHX_ block);
    return esx_read(aTHX_ sv);
}

/* The decimal digits of an integer, written beside the field: sv_2pv would leave a string in the caller's number. */
static void
esx_block_append_integer(pTHX_ esx_block *block, int name, SV *sv)
{
    if (block->len < ESX_BLOCK_SMALL && block->fields == block->small_fields) {
        char *digits = block->digits[block->len];
        char *end = digits + ESX_DIGITS, *at = end;
        const bool negative = !SvIsUV(sv) && SvIVX(sv) < 0;
        UV number = SvIsUV(sv) ? SvUVX(sv) : negative ? (UV)0 - (UV)SvIVX(sv) : (UV)SvIVX(sv);
        esx_field *field = esx_block_append(aTHX_ block, name, NULL);
        do *--at = (char)('0' + number % 10);
        while (number /= 10);
        if (negative)
            *--at = '-';
        field->text = at;
        field->len = (size_t)(end - at);
    }
    else
        esx_block_append(aTHX_ block, name, esx_string(aTHX_ sv));
}

/* Appends a defined scalar that esx_block_read returned. */
static void
esx_block_add(pTHX_ esx_block *block, int name, SV *sv)
{
    if (block->is_detached)
        esx_block_append(aTHX_ block, name, esx_string(aTHX_ sv));
    else if (esx_is_plain(sv))
        esx_block_append(aTHX_ block, name, sv);
    else if (esx_is_integer(sv))
        esx_block_append_integer(aTHX_ block, name, sv);
    else {
        sv = esx_keep_alive(aTHX_ sv);
        esx_block_detach(aTHX_ block);
        esx_block_append(aTHX_ block, name, esx_string(aTHX_ sv));
    }
}

/* The array of a reference that is not an object. An object may be overloaded, so its string is used instead. */
static AV *
esx_plain_array(SV *sv)
{
    return SvROK(sv) && !SvOBJECT(SvRV(sv)) && SvTYPE(SvRV(sv)) == SVt_PVAV ? (AV *)SvRV(sv) : NULL;
}

static HV *
esx_plain_hash(SV *sv)
{
    return SvROK(sv) && !SvOBJECT(SvRV(sv)) && SvTYPE(SvRV(sv)) == SVt_PVHV ? (HV *)SvRV(sv) : NULL;
}

/* The functions that take events, and their names in Perl. The drop-ins come first: they are lenient where the originals
 * are, and warn of an unknown field. The others are strict. */
enum esx_function { ESX_AS_STRING, ESX_PUSH, ESX_FORMAT_EVENT, ESX_PUBLISH };

static const char *const esx_functions[] = {"as_string", "push", "format_event", "publish"};

#define esx_is_strict(function) ((function) >= ESX_FORMAT_EVENT)

/* True if a reference is to an object of a class with overloads. perl's own flag is set on other classes too, until perl
 * has searched them. */
static bool
esx_is_overloaded(pTHX_ SV *sv)
{
    HV *stash = SvOBJECT(SvRV(sv)) ? SvSTASH(SvRV(sv)) : NULL;
    return stash && (gv_fetchmeth(stash, "((", 2, -1) || gv_fetchmeth(stash, "()", 2, -1)); /* the latter before 5.18 */
}

static void ESX_WARNS
esx_warn_reference(pTHX_ const char *what, const char *kind, int function)
{
    SV *text = sv_2mortal(Perl_newSVpvf(aTHX_ "%s is a reference to %s", what, kind));
    esx_warn_once(aTHX_ "EventSource::XS::_warn_reference", text, esx_functions[function]);
}

/* Appends a defined value. A reference is not a text. The drop-ins send it as perl shows it, as the originals do, and warn. */
static void
esx_block_add_value(pTHX_ esx_block *block, int name, const char *field, const char *what, SV *sv, int function)
{
    const bool is_reference = SvROK(sv) && !esx_is_overloaded(aTHX_ sv);
    const char *kind = is_reference ? sv_reftype(SvRV(sv), TRUE) : NULL;
    if (is_reference && esx_is_strict(function))
        esx_croakf(ESX_CODE_INVALID, field, "EventSource::XS: %s must be a string, not a reference to %s; %s", what, kind,
            strEQ(field, "data") ? "did you mean json => ...?" : "a structure goes into json => ...");
    esx_block_add(aTHX_ block, name, sv);
    if (is_reference)
        esx_warn_reference(aTHX_ what, kind, function);
}

/* Appends each element of an array as data. */
static void
esx_block_add_array(pTHX_ esx_block *block, int name, AV *array, int function)
{
    SSize_t at;
    block->array = array;
    if (block->is_detached || SvRMAGICAL(array)) {
        esx_block_detach(aTHX_ block);
        esx_keep_alive(aTHX_ (SV *)array);
    }
    for (at = 0; at <= av_len(array); at++) { /* looked up anew: Perl code may have changed the array */
        SV **element = av_fetch(array, at, 0);
        SV *sv = esx_block_read(aTHX_ block, element ? *element : &PL_sv_undef);
        if (esx_is_strict(function) && !SvOK(sv))
            esx_croakf(ESX_CODE_INVALID, "data", "EventSource::XS: element %" IVdf " of data is undefined", (IV)at);
        if (SvOK(sv))
            esx_block_add_value(aTHX_ block, name, "data", "each element of data", sv, function);
    }
    block->array = NULL;
}

/* Appends a value given for a field that is not a plain string. */
static void
esx_block_add_unusual(pTHX_ esx_block *block, int name, const char *field, SV *sv, int function)
{
    AV *array;
    sv = esx_block_read(aTHX_ block, sv);
    if (!SvOK(sv))
        return;
    array = name == ESX_DATA || name == ESX_DATA_TRIMMED ? esx_plain_array(sv) : NULL;
    if (array)
        esx_block_add_array(aTHX_ block, name, array, function);
    else
        esx_block_add_value(aTHX_ block, name, field, field, sv, function);
}

/* Appends a value given for a field: nothing if there is none or undef; an array gives a data field for each element. */
ESX_INLINE void
esx_block_add_given(pTHX_ esx_block *block, int name, const char *field, SV *sv, int function)
{
    if (sv && !block->is_detached && esx_is_plain(sv)) /* most are */
        esx_block_append(aTHX_ block, name, sv);
    else if (sv)
        esx_block_add_unusual(aTHX_ block, name, field, sv, function);
}

/* Converts the texts that Rust cannot take as they are: characters that are not Unicode, and bytes that perl holds as
 * characters. Both are rare. */
static void
esx_block_convert(pTHX_ esx_block *block)
{
    size_t at;
    for (at = 0; at < block->len; at++) {
        esx_field *field = &block->fields[at];
        SV *converted = NULL;
        if (field->conversion == ESX_REPAIR) {
            converted = sv_2mortal(newSV(ESX_REPAIRED * field->len + 1));
            SvPOK_only(converted);
            SvCUR_set(converted, esx_repair(field->text, field->len, SvPVX(converted), ESX_REPAIRED * field->len));
            *SvEND(converted) = '\0';
            SvUTF8_on(converted);
        }
        else if (field->conversion == ESX_DOWNGRADE) {
            converted = newSVpvn_flags(field->text, field->len, SVs_TEMP | SVf_UTF8);
            if (!sv_utf8_downgrade(converted, TRUE))
                esx_croakf(ESX_CODE_INVALID, "bytes",
                    "EventSource::XS: bytes is set, but a string holds a character above U+00FF");
        }
        if (converted) {
            if (SvTAINTED(block->values[at]))
                SvTAINTED_on(converted);
            block->values[at] = converted;
            esx_field_point(aTHX_ field, converted);
        }
    }
}

/* When debugging: warns of characters that look like bytes in UTF-8, which would be encoded once more. */
static void ESX_WARNS
esx_block_suspect(pTHX_ const esx_block *block, int strings)
{
    static const char *const names[] = {"event", "id", "retry", "retry", "data", "data", "comment"};
    size_t at;
    for (at = 0; at < block->len; at++) {
        const esx_field *field = &block->fields[at];
        const char *text;
        STRLEN len;
        if (!block->values[at] || (field->strings ? field->strings : strings) != ESX_CHARACTERS)
            continue;
        text = SvPV_nomg_const(block->values[at], len);
        if (esx_is_encoded(text, len, SvUTF8(block->values[at]) ? 1 : 0))
            esx_warn_once(aTHX_ "EventSource::XS::_warn_encoded", sv_2mortal(newSVpv(names[field->name], 0)), "");
    }
}

/* True if one of the texts is tainted. Each copy carries its taint. perl's own flag does not help: every statement that
 * runs lowers it, and so does every overload and every FETCH. */
static bool
esx_block_is_tainted(pTHX_ const esx_block *block)
{
    size_t at;
    for (at = 0; at < block->len; at++)
        if (block->values[at] && SvTAINTED(block->values[at]))
            return TRUE;
    return FALSE;
}

/* Returns a caller's own message about a refused field. NULL in its place selects the message of Rust. */
typedef SV *(*esx_describe)(pTHX_ const esx_block *block, size_t at);

/* Results up to this size are written into the target of the calling op, as perl's own functions do, which saves a
 * scalar and its buffer. Longer ones get a scalar of their own, whose buffer an assignment takes over. */
#define ESX_TARGET_MAX 256

/* Converts what Rust cannot take, and measures again. Croaks if a field is invalid. */
static int ESX_RARE
esx_block_measure_again(pTHX_ esx_block *block, int strings, int line_end, char *out, size_t room, int status,
    esx_describe describe, esx_report *report)
{
    if (status == ESX_CONVERT) {
        esx_block_convert(aTHX_ block);
        status = esx_measure(block->fields, block->len, strings, line_end, out, room, report);
    }
    if (status == ESX_CONVERT)
        esx_croakf(ESX_CODE_INTERNAL, NULL, "EventSource::XS: internal error: text still needs work");
    if (status != ESX_OK && status != ESX_ENCODED)
        esx_croak_report(aTHX_ report, "EventSource::XS",
            describe && status == ESX_ERROR ? describe(aTHX_ block, report->at) : NULL);
    return status;
}

/* Has the block encoded into `out` if it fits there, and checked otherwise: then the report has the size that it needs, unless
 * there is no room. Returns true if it is encoded. Croaks if a field is invalid. */
static bool
esx_block_measure(pTHX_ esx_block *block, int strings, int line_end, char *out, size_t room, esx_describe describe,
    esx_report *report)
{
    int status = esx_measure(block->fields, block->len, strings, line_end, out, room, report);
    if (status != ESX_OK && status != ESX_ENCODED)
        status = esx_block_measure_again(aTHX_ block, strings, line_end, out, room, status, describe, report);
    return status == ESX_ENCODED;
}

/* Returns a new scalar with a block that has been encoded into a buffer of C's stack, or is too long for it. */
static SV *
esx_block_result(pTHX_ const esx_block *block, const char *encoded, int line_end, esx_report *report)
{
    SV *out = sv_2mortal(newSV(report->size + 1));
    if (encoded)
        Copy(encoded, SvPVX(out), report->size, char);
    else if (esx_encode(block->fields, block->len, line_end, SvPVX(out), report->size, report) != ESX_OK)
        esx_croak_report(aTHX_ report, "EventSource::XS", NULL);
    return out;
}

/* The target may be NULL: then the result is a scalar of its own. */
static SV *
esx_block_encode(pTHX_ esx_block *block, SV *target, int strings, int line_end, esx_describe describe)
{
    char buffer[ESX_TARGET_MAX], *room = buffer;
    esx_report report;
    SV *out = target;
    bool is_encoded;

    if (target) {
        SV_CHECK_THINKFIRST_COW_DROP(target);
        (void)SvUPGRADE(target, SVt_PV);
        room = SvGROW(target, ESX_TARGET_MAX);
    }
    is_encoded = esx_block_measure(aTHX_ block, strings, line_end, room, ESX_TARGET_MAX - 1, describe, &report);
    if (!is_encoded || !target)
        out = esx_block_result(aTHX_ block, is_encoded ? buffer : NULL, line_end, &report);
    SvPOK_only(out);
    SvCUR_set(out, report.size);
    *SvEND(out) = '\0';
    if (report.utf8)
        SvUTF8_on(out);
    SvTAINT(out);
    SvSETMAGIC(out); /* clears the taint of an earlier result */
    if (block->is_detached && esx_block_is_tainted(aTHX_ block))
        SvTAINTED_on(out);
    return out;
}

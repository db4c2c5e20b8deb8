/* Exceptions: objects of the class EventSource::Error, as perl/EventSource/Error.pm makes them. */

/* Keeps the code that dies or warns out of the functions that call it, which run for every event. */
#if defined(__GNUC__) || defined(__clang__)
#  define ESX_DIES __attribute__((cold, noinline, noreturn))
#  define ESX_WARNS __attribute__((cold, noinline))
#  define ESX_RARE __attribute__((cold, noinline))
#  define ESX_INLINE static inline __attribute__((always_inline))
#else
#  define ESX_DIES
#  define ESX_WARNS
#  define ESX_RARE
#  define ESX_INLINE static
#endif

/* The statement that called into this distribution. XSUBs leave no frame that Carp could see, so this walks perl's own. */
static const COP *
esx_caller(pTHX)
{
    const COP *cop = PL_curcop;
    I32 level = 0;
    for (;;) {
        const char *package = CopSTASHPV(cop);
        const PERL_CONTEXT *frame;
        if (!package || (strnNE(package, "EventSource::", 13) && strnNE(package, "Plack::App::EventSource", 23)))
            return cop;
        frame = caller_cx(level++, NULL);
        if (!frame)
            return cop;
        cop = frame->blk_oldcop;
    }
}

/* Sets the members file, line and location for a statement. perl's own words for the location go into the string of the
 * exception; its line may be more exact than the statement's, in an elsif for example. */
static void
esx_error_location(pTHX_ HV *error, const COP *cop)
{
    const char *file = OutCopFILE(cop);
    SV *location, *prefix;
    UV line = CopLINE(cop);

    PL_curcop = (COP *)cop;
    location = newSVsv(mess_sv(newSVpvn_flags("", 0, SVs_TEMP), FALSE));
    prefix = sv_2mortal(Perl_newSVpvf(aTHX_ " at %s line ", file));
    if (SvCUR(location) > SvCUR(prefix) && memEQ(SvPVX(location), SvPVX(prefix), SvCUR(prefix)))
        line = (UV)strtoul(SvPVX(location) + SvCUR(prefix), NULL, 10);
    (void)hv_stores(error, "file", newSVpv(file, 0));
    (void)hv_stores(error, "line", newSVuv(line));
    (void)hv_stores(error, "location", location);
}

/* Dies with an EventSource::Error at the caller's line. The field may be NULL. No Rust frame is below. */
static void ESX_DIES
esx_croak(pTHX_ int code, SV *field, SV *message)
{
    HV *error = newHV();
    const esx_text name = esx_code_name(code);
    SV *object = sv_bless(sv_2mortal(newRV_noinc((SV *)error)), gv_stashpvs("EventSource::Error", GV_ADD));

    (void)hv_stores(error, "code", newSVpvn(name.text, name.len));
    (void)hv_stores(error, "field", field ? newSVsv(field) : newSV(0));
    (void)hv_stores(error, "message", newSVsv(message));
    esx_error_location(aTHX_ error, esx_caller(aTHX));
    croak_sv(object);
}

/* Dies with a formatted message. The field is a C string or NULL. */
static void ESX_DIES
esx_croakf_(pTHX_ int code, const char *field, const char *format, ...)
{
    SV *message;
    va_list arguments;
    va_start(arguments, format);
    message = sv_2mortal(vnewSVpvf(format, &arguments));
    va_end(arguments);
    esx_croak(aTHX_ code, field ? newSVpvn_flags(field, strlen(field), SVs_TEMP) : NULL, message);
}

#define esx_croakf(...) esx_croakf_(aTHX_ __VA_ARGS__)

/* Calls code with values, and returns its result. The caller allows Perl code to run. */
static SV *
esx_call_code(pTHX_ SV *code, size_t count, SV **arguments)
{
    dSP;
    size_t at;
    SV *result;
    ENTER;
    PUSHMARK(SP);
    EXTEND(SP, (SSize_t)count);
    for (at = 0; at < count; at++)
        PUSHs(arguments[at]);
    PUTBACK;
    call_sv(code, G_SCALAR);
    SPAGAIN;
    result = POPs;
    PUTBACK;
    LEAVE;
    return result;
}

/* Does the same with a sub of this distribution. */
static SV *
esx_call(pTHX_ const char *sub, size_t count, SV **arguments)
{
    return esx_call_code(aTHX_ (SV *)get_cv(sub, GV_ADD), count, arguments);
}

/* Calls a sub of this distribution that warns once for each call site: with a value and the caller's file and line. */
static void ESX_WARNS
esx_warn_once(pTHX_ const char *sub, SV *value, const char *function)
{
    const COP *cop = esx_caller(aTHX);
    SV *arguments[4];
    arguments[0] = value;
    arguments[1] = sv_2mortal(newSVpv(function, 0));
    arguments[2] = sv_2mortal(newSVpv(OutCopFILE(cop), 0));
    arguments[3] = sv_2mortal(newSVuv(CopLINE(cop)));
    esx_call(aTHX_ sub, 4, arguments);
}

/* Dies because a function was called with too few or too many arguments. The code that xsubpp generates calls this, with
 * the names of the parameters as they are in C. */
static void ESX_DIES
esx_croak_usage(pTHX_ CV *cv, const char *parameters)
{
    GV *gv = CvGV(cv);
    SV *arguments[3];
    arguments[0] = sv_2mortal(newSVpv(HvNAME(GvSTASH(gv)), 0));
    arguments[1] = sv_2mortal(newSVpv(GvNAME(gv), 0));
    arguments[2] = sv_2mortal(newSVpv(parameters, 0));
    esx_croak(aTHX_ ESX_CODE_INVALID, NULL, esx_call(aTHX_ "EventSource::XS::_usage", 3, arguments));
}

#undef croak_xs_usage
#define croak_xs_usage(cv, parameters) esx_croak_usage(aTHX_ cv, parameters)

/* Dies with the error that Rust reports. The message begins with the module, unless the caller gives one. */
static void ESX_DIES
esx_croak_report(pTHX_ const esx_report *report, const char *module, SV *message)
{
    SV *field = *report->field ? newSVpvn_flags(report->field, strlen(report->field), SVs_TEMP) : NULL;
    if (!message)
        message = sv_2mortal(Perl_newSVpvf(aTHX_ "%s: %s", module, report->message));
    esx_croak(aTHX_ report->code, field, message);
}

/* Dies with the error that Rust reports, unless the status is that of a success. */
static void
esx_check(pTHX_ int status, const esx_report *report, const char *module)
{
    if (status != ESX_OK)
        esx_croak_report(aTHX_ report, module, NULL);
}

static MGVTBL esx_kept_table = {0};

/* Restores $? for an eval. exit and an uncaught exception set it before they leave all scopes. */
static void
esx_restore_status(pTHX_ void *status)
{
    if (PL_in_eval && !(PL_exit_flags & PERL_EXIT_EXPECTED))
        PL_statusvalue = (I32)PTR2IV(status);
}

/* The guard of $@, $! and $?: an XSUB that calls the sub in its magic with its own arguments. It has no frame, so the sub sees
 * its caller; after a goto the context is in the frame that this has popped. perl's stack is another one meanwhile: the program
 * would continue in here if a callback of the application left the sub by last or next. */
static XSPROTO(esx_call_kept)
{
    dXSARGS;
    const I32 status = PL_statusvalue;
    const I32 context = PL_op->op_type == OP_GOTO ? cxstack[cxstack_ix + 1].blk_gimme & G_WANT : GIMME_V;
    SV **values = &ST(0);
    ENTER;
    save_scalar(PL_errgv);
    SAVEINT(errno);
    SAVEDESTRUCTOR_X(esx_restore_status, INT2PTR(void *, (IV)status));
    PUSHSTACKi(PERLSI_UNKNOWN);
    PUSHMARK(SP);
    EXTEND(SP, items);
    Copy(values, SP + 1, items, SV *);
    PL_stack_sp = SP + items;
    items = call_sv(mg_findext((SV *)cv, PERL_MAGIC_ext, &esx_kept_table)->mg_obj, context);
    values = PL_stack_sp - items + 1;
    POPSTACK;
    SP = PL_stack_base + ax - 1;
    EXTEND(SP, items);
    Copy(values, SP + 1, items, SV *);
    PL_stack_sp = SP + items;
    LEAVE;
    PL_statusvalue = status;
}

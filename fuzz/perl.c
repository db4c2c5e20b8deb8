/* A perl for the target `boundary`: the only interpreter of the process. */

#include "EXTERN.h"
#include "perl.h"
#include "XSUB.h"

EXTERN_C void boot_DynaLoader(pTHX_ CV *cv);
EXTERN_C void boot_EventSource__XS(pTHX_ CV *cv);

static PerlInterpreter *interpreter;

/* Registers the extensions that are linked in. perl calls this at its start. XSLoader uses a `bootstrap` that exists. */
static void link_extensions(pTHX)
{
    newXS("DynaLoader::boot_DynaLoader", boot_DynaLoader, __FILE__);
    newXS("EventSource::XS::bootstrap", boot_EventSource__XS, __FILE__);
}

/* Starts a perl with a script, in the order of perlembed. Returns 0, or the status with which perl fails. perl keeps the
   arguments. */
int start_perl(char *modules, char *script)
{
    static char *arguments[4] = {"boundary"};
    static char *nothing[1];
    int argc = 3, status;
    char **argv = arguments, **env = nothing;
    arguments[1] = modules;
    arguments[2] = script;
    PERL_SYS_INIT3(&argc, &argv, &env);
    interpreter = perl_alloc();
    perl_construct(interpreter);
    status = perl_parse(interpreter, link_extensions, argc, argv, NULL);
    return status ? status : perl_run(interpreter);
}

/* Runs `main::run` with `$main::input` set. Returns the number of live scalars afterwards. */
ssize_t run_perl(const char *input, size_t bytes)
{
    dTHXa(interpreter);
    char *no_arguments[1] = {NULL};
    sv_setpvn(get_sv("main::input", GV_ADD), input, bytes);
    call_argv("main::run", G_DISCARD | G_VOID, no_arguments);
    return PL_sv_count;
}

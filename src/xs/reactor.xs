# The reactor of this process: the ends that it reports, the callbacks of the interpreters, the counts.

# A function without code here is the one of Rust with that name.
MODULE = EventSource::XS    PACKAGE = EventSource::XS    PREFIX = esx

UV
esx_new_interpreter()

void
esx_remove_interpreter(UV interpreter)

void
_next_end(UV interpreter)
  PREINIT:
    uint64_t name;
    int reason;
  PPCODE:
    reason = esx_next_end((uint32_t)interpreter, &name);
    if (reason < 0)
        XSRETURN(0);
    EXTEND(SP, 2);
    mPUSHs(esx_stream_name_sv(aTHX_ name));
    mPUSHs(esx_reason_sv(aTHX_ reason));

# True if an interpreter of this process has ends to take or callbacks to run, or if something was lost.
bool
esx_has_callbacks()

# A number that differs in each forked child from its parent's. Unlike $$ it takes no system call.
UV
esx_generation()

void
esx_finish()

# This process has made an application of this distribution, or has a request to answer. It connects to the processes of its hubs.
void
esx_serve(bool has_request)

# Sets when the running handler looks whether its worker is to end, in seconds since 1970; 0 for never. Returns what was set.
NV
_set_next_look(NV seconds)
  CODE:
    RETVAL = (NV)esx_next_look;
    esx_next_look = (time_t)seconds;
  OUTPUT:
    RETVAL

void
esx_linger(NV seconds)

SV *
_notify_descriptor(UV interpreter)
  CODE:
    RETVAL = esx_result(aTHX_ esx_notify_descriptor((uint32_t)interpreter));
  OUTPUT:
    RETVAL

void
_call_callbacks()
  CODE:
    esx_run_callbacks(aTHX);

void
esx_count_callbacks(IV added)

UV
esx_signal_action(int signal)

void
esx_set_end_signal(int signal, UV interpreter)

# The reactor of this process: the ends that it reports, the callbacks of the interpreters, the counts.

MODULE = EventSource::XS    PACKAGE = EventSource::XS


UV
_new_interpreter()
  CODE:
    RETVAL = esx_new_interpreter();
  OUTPUT:
    RETVAL

void
_remove_interpreter(UV interpreter)
  CODE:
    esx_remove_interpreter((uint32_t)interpreter);

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

# Takes what was lost on its way to the hub processes: how many events and streams, and the cause of the first.
void
_take_losses()
  PREINIT:
    char cause[512];
    size_t len = 0;
    uint64_t count;
  PPCODE:
    count = esx_take_losses(cause, sizeof cause, &len);
    if (!count)
        XSRETURN(0);
    EXTEND(SP, 2);
    mPUSHu((UV)count);
    mPUSHs(newSVpvn_utf8(cause, len, TRUE));

# True if an interpreter of this process has ends to take or callbacks to run, or if something was lost.
bool
_has_callbacks()
  CODE:
    RETVAL = esx_has_callbacks() != 0;
  OUTPUT:
    RETVAL

# A number that differs in each forked child from its parent's. Unlike $$ it takes no system call.
UV
_generation()
  CODE:
    RETVAL = esx_generation();
  OUTPUT:
    RETVAL

void
_finish()
  CODE:
    esx_finish();

# This process has made an application of this distribution, or has a request to answer. It connects to the processes of its hubs.
void
_serve(bool has_request)
  CODE:
    esx_serve(has_request);

# Sets when the running handler looks whether its worker is to end, in seconds since 1970; 0 for never. Returns what was set.
NV
_set_next_look(NV seconds)
  CODE:
    RETVAL = (NV)esx_next_look;
    esx_next_look = (time_t)seconds;
  OUTPUT:
    RETVAL

void
_linger(NV seconds)
  CODE:
    esx_linger(seconds);

SV *
_notify_descriptor(UV interpreter)
  CODE:
    RETVAL = esx_result(aTHX_ esx_notify_descriptor((uint32_t)interpreter));
  OUTPUT:
    RETVAL

void
_stats()
  PREINIT:
    esx_counts counts;
    HV *hash, *closed;
    int reason;
    UV lost = 0;
  PPCODE:
    esx_stats(&counts);
    hash = newHV();
    closed = newHV();
    (void)hv_stores(hash, "native", newSVuv((UV)counts.open));
    (void)hv_stores(hash, "opened", newSVuv((UV)counts.opened));
    (void)hv_stores(hash, "refused", newSVuv((UV)counts.refused));
    (void)hv_stores(hash, "events", newSVuv((UV)counts.events));
    (void)hv_stores(hash, "bytes", newSVuv((UV)counts.bytes));
    (void)hv_stores(hash, "buffered", newSVuv((UV)counts.buffered));
    (void)hv_stores(hash, "wakeups", newSVuv((UV)counts.wakeups));
    (void)hv_stores(hash, "longest_delay", newSVnv(counts.longest_delay_ns / 1e9));
    for (reason = 0; reason < ESX_LOSSES; reason++)
        lost += (UV)counts.lost[reason];
    (void)hv_stores(hash, "lost", newSVuv(lost));
    for (reason = 0; reason < ESX_REASONS; reason++)
        (void)hv_store_ent(closed, sv_2mortal(esx_reason_sv(aTHX_ reason)), newSVuv((UV)counts.ended[reason]), 0);
    (void)hv_stores(hash, "closed", newRV_noinc((SV *)closed));
    mXPUSHs(newRV_noinc((SV *)hash));

void
_call_callbacks()
  CODE:
    esx_run_callbacks(aTHX);

void
_count_callbacks(IV added)
  CODE:
    esx_count_callbacks((ptrdiff_t)added);

UV
_signal_action(int signal)
  CODE:
    RETVAL = esx_signal_action(signal);
  OUTPUT:
    RETVAL

void
_set_end_signal(int signal, UV interpreter)
  CODE:
    esx_set_end_signal(signal, (uint32_t)interpreter);

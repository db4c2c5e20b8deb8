# Connections to the hub processes. process.h reads the arguments, process.rs is behind them.

MODULE = EventSource::XS    PACKAGE = EventSource::Hub::Process

void
_connect(SV *self, SV *settings)
  PREINIT:
    esx_text name, socket, program;
    esx_report report;
    MAGIC *magic;
    HV *hash;
    NV timeout;
    bool needs_settings;
  CODE:
    settings = esx_keep_alive(aTHX_ settings);
    self = esx_snapshot(aTHX_ self);
    hash = esx_settings(aTHX_ settings);
    name = esx_setting_text(aTHX_ hash, "name");
    socket = esx_setting_path(aTHX_ hash, "socket");
    needs_settings = esx_setting_is(aTHX_ hash, "needs_settings");
    program = esx_setting_path(aTHX_ hash, "program");
    timeout = esx_setting_nv(aTHX_ hash, "timeout");
    magic = esx_handle_new(aTHX_ self, &esx_process_table, "EventSource::Hub::Process", "connection");
    magic->mg_ptr = esx_process_connect(name, socket, program, needs_settings, timeout, &report);
    if (!magic->mg_ptr)
        esx_croak_report(aTHX_ &report, "EventSource::Hub::Process", NULL);

void
_replace(SV *class, SV *settings)
  PREINIT:
    esx_text name, socket, program;
    esx_report report;
    HV *hash;
    NV timeout;
  CODE:
    PERL_UNUSED_VAR(class);
    settings = esx_keep_alive(aTHX_ settings);
    hash = esx_settings(aTHX_ settings);
    name = esx_setting_text(aTHX_ hash, "name");
    socket = esx_setting_path(aTHX_ hash, "socket");
    program = esx_setting_path(aTHX_ hash, "program");
    timeout = esx_setting_nv(aTHX_ hash, "timeout");
    esx_check(aTHX_ esx_process_replace(name, socket, program, timeout, &report), &report, "EventSource::Hub::Process");

SV *
_call(SV *self, ...)
  PREINIT:
    const esx_text *texts;
    esx_report report;
    void *results;
  CODE:
    texts = esx_process_texts(aTHX_ ax, items);
    results = esx_process_call(esx_process_of(aTHX_ self), texts, (size_t)(items - 1), &report);
    RETVAL = esx_texts(aTHX_ results, &report, "EventSource::Hub::Process", 0);
  OUTPUT:
    RETVAL

SV *
_folders()
  PREINIT:
    esx_report report;
    void *folders;
  CODE:
    folders = esx_process_folders(&report);
    RETVAL = esx_texts(aTHX_ folders, &report, "EventSource::Hub::Process", 0);
  OUTPUT:
    RETVAL

SV *
_first_store(SV *settings)
  PREINIT:
    esx_report report;
    HV *hash;
    void *store;
  CODE:
    settings = esx_keep_alive(aTHX_ settings);
    hash = esx_settings(aTHX_ settings);
    store = esx_process_store(esx_setting_text(aTHX_ hash, "name"), esx_setting_path(aTHX_ hash, "socket"),
        esx_setting_text(aTHX_ hash, "store"), &report);
    RETVAL = esx_texts(aTHX_ store, &report, "EventSource::Hub::Process", 0);
  OUTPUT:
    RETVAL

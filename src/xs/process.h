/* Connections to the hub processes: objects with a Rust value behind them. handle.h describes such objects. */

ESX_HANDLE(process)
ESX_HANDLE_OF(process, ESX_CODE_STATE,
    "EventSource::Hub::Process: this thread has no such connection; make one with EventSource::Hub::Process->connect")

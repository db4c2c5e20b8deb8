/* Connections to the hub processes: objects with a Rust value behind them. handle.h describes such objects. */

ESX_HANDLE(process, esx_handle_forget)
ESX_HANDLE_OF(process, "EventSource::Hub::Process: this is not a connection; make one with EventSource::Hub::Process->connect")

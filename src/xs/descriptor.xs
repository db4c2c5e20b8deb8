# Descriptors: copies of them, whose client has disconnected or is dead, and whether few are left.

# A function without code here is the one of Rust with that name.
MODULE = EventSource::XS    PACKAGE = EventSource::XS    PREFIX = esx

SV *
_duplicate(int number)
  CODE:
    RETVAL = esx_result(aTHX_ esx_duplicate(number));
  OUTPUT:
    RETVAL

bool
esx_is_connection(int number)

# Makes the connection keep what the server writes, until the reactor has written something too.
void
esx_cork(int number)

bool
esx_has_left(int number)

bool
esx_is_hung_up(int number)

bool
esx_is_short()

MODULE = EventSource::XS    PACKAGE = EventSource::XS::RelayedClient

SV *
new(const char *class)
  PREINIT:
    HV *object;
  CODE:
    object = newHV();
    RETVAL = sv_bless(newRV_noinc((SV *)object), gv_stashpv(class, GV_ADD));
    esx_handle_attach(aTHX_ (SV *)object, &esx_relayed_client_table)->mg_ptr = esx_relayed_client_new();
  OUTPUT:
    RETVAL

SV *
look(SV *self, int number, NV timeout)
  PREINIT:
    NV seconds;
  CODE:
    seconds = esx_relayed_client_look(esx_relayed_client_of(aTHX_ self), number, timeout);
    RETVAL = seconds < 0 ? newSV(0) : newSVnv(seconds);
  OUTPUT:
    RETVAL

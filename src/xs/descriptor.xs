# Descriptors: copies of them, whose client has disconnected or is dead, and whether few are left.

MODULE = EventSource::XS    PACKAGE = EventSource::XS

SV *
_duplicate(int number)
  CODE:
    RETVAL = esx_result(aTHX_ esx_duplicate(number));
  OUTPUT:
    RETVAL

bool
_is_connection(int number)
  CODE:
    RETVAL = esx_is_connection(number) > 0;
  OUTPUT:
    RETVAL

# Makes the connection keep what the server writes, until the reactor has written something too.
void
_cork(int number)
  CODE:
    esx_cork(number);

bool
_has_left(int number)
  CODE:
    RETVAL = esx_has_left(number) > 0;
  OUTPUT:
    RETVAL

bool
_is_hung_up(int number)
  CODE:
    RETVAL = esx_is_hung_up(number) > 0;
  OUTPUT:
    RETVAL

bool
_is_short()
  CODE:
    RETVAL = esx_is_short() > 0;
  OUTPUT:
    RETVAL

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

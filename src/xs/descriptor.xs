# Descriptors: copies of them, whose client has disconnected, and whether few are left.

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

package EventSource::XS::Adapter::ModPerl;
use strict;
use warnings;

# Apache with mod_perl (Plack::Handler::Apache2): a child takes one request after the other. Apache writes the response, and
# gives no socket, so a stream is never native.

use parent 'EventSource::XS::Adapter';

sub name { return 'mod_perl' }

# A process of Apache has no other server. The input is not the request's if it was read before.
sub recognizes_env { return !!$INC{'Plack/Handler/Apache2.pm'} && !exists $_[1]{'psgix.io'} }
sub recognized_by  { return (io => 0) }

# A child that Apache ends frees its requests, also one whose handler runs, and destroys the interpreter then.
sub is_writable_at_exit { return !!0 }

1;

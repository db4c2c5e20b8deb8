# The application of native.psgi. Its worker sends itself TERM once it has a native stream, just before it calls accept.

use Testing::Application;
use EventSource::XS;
use IO::Socket;

my $accept  = \&IO::Socket::accept;
my $is_sent = 0;
{
    no warnings 'redefine';
    *IO::Socket::accept = sub {
        kill TERM => $$ if EventSource::XS->stats->{native} && !$is_sent++;
        goto &$accept;
    };
}

do './t/data/native.psgi' or die $@ || $!;

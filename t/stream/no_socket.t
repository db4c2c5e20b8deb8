# A server that gives no psgix.io, or one that must not be touched: the stream knows what it stands on all the same.

use strict;
use warnings;

use EventSource::Stream::Writer ();
use Test::More;

package Kept {    ## no critic (ProhibitMultiplePackages)
    sub new   { return bless {kept => '', closed => 0}, shift }
    sub write { $_[0]{kept} .= $_[1]; return }
    sub close { $_[0]{closed}++;      return }
}

my @warnings;
local $SIG{__WARN__} = sub { push @warnings, @_ };

for my $env ({'psgi.nonblocking' => 1}, {'psgi.nonblocking' => 1, 'psgix.output.guard' => 1, 'psgix.io' => undef}) {
    my $name   = join ', ', sort keys %$env;
    my $writer = Kept->new;
    my $stream = EventSource::Stream::Writer->new($writer, $env);
    ok !$stream->is_blocking, "$name: does not block";
    $stream->drop;
    ok !$writer->{closed},  'an event loop keeps what the application has dropped';
    ok $stream->write('x'), 'and it is written to';
    is $writer->{kept}, 'x', 'as it is';
    $stream->close;
    is $writer->{closed}, 1, 'until it is closed';
}
my $writer = Kept->new;
my $stream = EventSource::Stream::Writer->new($writer, {});
ok $stream->is_blocking, 'a blocking server';
$stream->drop;
is $writer->{closed}, 1,  'closes what the application has dropped';
is "@warnings",       '', 'nothing is warned about';

done_testing;

package EventSource::XS::Stream::WorkerRecycling;
use strict;
use warnings;

# Some servers end a worker after a number of requests, and the native streams of that worker with it. This module
# warns if that will happen often.

use EventSource::XS::Adapter;
use EventSource::XS::Library;

# With fewer requests than this a worker ends much earlier than streams that live for hours.
my $MIN_REQUESTS = 10_000;

# The process that has warned, by its generation.
my $warned = -1;

# Public methods

# Return the server's name, its option, and the number of requests after which it ends this worker; an empty list if there
# is no such limit or it is not known. Call it while the server calls the application, or while the application responds.
sub limit {
    my ($class, $env) = @_;
    local ($@, $SIG{__DIE__});
    my $adapter = EventSource::XS::Adapter->of_env($env);
    my $server;
    ($adapter, $server) = EventSource::XS::Adapter->of_caller if !defined $adapter->recycling_option;
    my $number = $adapter && eval { $adapter->requests_per_worker($server) };
    return $number ? ($adapter->name, $adapter->recycling_option, $number) : ();
}

sub warn_once {
    my ($class, $env) = @_;
    my $generation = EventSource::XS::_generation();
    return if $warned == $generation;
    $warned = $generation;
    my ($name, $option, $number) = $class->limit($env) or return;
    return if $number !~ /\A[0-9]+\z/ || $number >= $MIN_REQUESTS;
    $env->{'psgi.errors'}->print("EventSource::XS: $name ends a worker and its event streams after $number requests;"
            . " give it a larger $option, such as 1000000\n");
    return;
}

1;

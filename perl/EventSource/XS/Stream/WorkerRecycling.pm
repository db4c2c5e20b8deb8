package EventSource::XS::Stream::WorkerRecycling;
use strict;
use warnings;

# Some servers end a worker after a number of requests, and the native streams of that worker with it. This module
# warns if that will happen often.

our $VERSION = '0.100';

use EventSource::XS::Adapter;

# With fewer requests than this a worker ends much earlier than streams that live for hours.
my $MIN_REQUESTS = 10_000;

# The process that has warned.
my $warned = 0;

# Public methods

sub limit {
    my ($class, $env) = @_;
    local $@;
    my $adapter = EventSource::XS::Adapter->of_env($env);
    my $server;
    ($adapter, $server) = EventSource::XS::Adapter->of_caller if !defined $adapter->recycling_option;
    my $number = $adapter && eval { $adapter->requests_per_worker($server) };
    return $number ? ($adapter->name, $adapter->recycling_option, $number) : ();
}

sub warn_once {
    my ($class, $env) = @_;
    return if $warned == $$;
    $warned = $$;
    my ($name, $option, $number) = $class->limit($env) or return;
    return if $number !~ /\A[0-9]+\z/ || $number >= $MIN_REQUESTS;
    $env->{'psgi.errors'}->print("EventSource::XS: $name ends a worker and its event streams after $number requests;"
            . " give it a larger $option, such as 1000000\n");
    return;
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::XS::Stream::WorkerRecycling - Warns if a server ends its workers after few requests

=head1 SYNOPSIS

    use EventSource::XS::Stream::WorkerRecycling;

    my $app = sub {
        my $env = shift;
        EventSource::XS::Stream::WorkerRecycling->warn_once($env);
        my ($server, $option, $number) = EventSource::XS::Stream::WorkerRecycling->limit($env);
        my $text = defined $number ? "$server ends this worker after $number requests ($option)" : 'no limit is known';
        return [200, ['Content-Type' => 'text/event-stream'], ["data: $text\n\n"]];
    };

=head1 DESCRIPTION

A native stream lives in the worker that began it, and ends with it. If a server ends its workers after a number of
requests, the ordinary requests of a busy site end all streams every few seconds. Clients reconnect by themselves, but
it is seldom intended.

So L<Plack::App::EventSource> warns once in each process, on C<psgi.errors>, when a native stream outlives its
handler on a server that blocks and the number is below 10,000. It does not warn of a stream that lives in the process of a hub
(L<EventSource::Hub/name>), which outlives the worker. The warning is one line:

    EventSource::XS: Starman ends a worker and its event streams after 1000 requests; give it a larger
    --max-requests, such as 1000000

The server's adapter (L<EventSource::XS::Adapter>) knows the option and its value:

=over

=item Starman

C<--max-requests>, 1000 by default. Read from the server object, which is among the callers.

=item Starlet

C<--max-reqs-per-child>, 100 by default (a smaller C<--min-reqs-per-child> is ignored). Read in the same way.

=item uWSGI

C<max-requests>, none by default. Read from the table of options that it gives to applications (C<uwsgi::opt>). Other
options that end workers (C<reload-on-rss>, C<max-worker-lifetime>, C<cheaper>) are ignored.

=back

HTTP::Server::PSGI, HTTP::Server::Simple::PSGI, Twiggy and Feersum do not recycle workers. There is no warning for
unknown servers, or for restarts from outside.

=head1 METHODS

=head2 limit

    my ($server, $option, $number) = EventSource::XS::Stream::WorkerRecycling->limit($env);

Return the server's name, its option, and the number of requests after which it ends this worker; an empty list if
there is no such limit or it is not known. Call it while the server calls the application, or while the application
responds.

=head2 warn_once

    EventSource::XS::Stream::WorkerRecycling->warn_once($env);

Print the warning if the number is low, once in a process.

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut

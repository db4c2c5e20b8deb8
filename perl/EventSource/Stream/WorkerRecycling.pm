package EventSource::Stream::WorkerRecycling;
use strict;
use warnings;

# Servers end a worker after so many requests, and with it the streams that live there. Says so if that will be often.

our $VERSION = '0.100';

# With fewer requests than this a worker does not live for long beside streams that live for hours.
my $FEW = 10_000;

# In which of its methods each server is when it calls an application, what its option is called, and where it keeps it.
my %SERVER = (
    'Starlet::Server::accept_loop'      => ['Starlet', '--max-reqs-per-child', sub { $_[0]{max_reqs_per_child} }],
    'Starman::Server::dispatch_request' => ['Starman', '--max-requests',       sub { $_[0]{server}{max_requests} }],
);

# The process that has said it.
my $told = 0;

# Public methods

# The server's name, its option, and the number; nothing if there is none, or it is not known.
sub limit {
    my ($class, $env) = @_;
    local $@;
    my ($name, $option, $number) =
        ref($env->{'psgi.errors'} || '') eq 'uwsgi::error'
        ? ('uWSGI', 'max-requests', eval { uwsgi->can('opt')->()->{'max-requests'} })
        : _limit_of_caller();
    return $number ? ($name, $option, $number) : ();
}

sub warn_once {
    my ($class, $env) = @_;
    return if $told == $$;
    $told = $$;
    my ($name, $option, $number) = $class->limit($env) or return;
    return if $number !~ /\A[0-9]+\z/ || $number >= $FEW;
    $env->{'psgi.errors'}->print("EventSource::XS: $name ends a worker and its event streams after $number requests;"
            . " give it a larger $option, such as 1000000\n");
    return;
}

# Private functions

# Looks for the server among those who have called. What a sub was given perl tells to package DB; nothing is looked at but
# the invocant of these methods, which the server holds as long as they run.
sub _limit_of_caller {
    my $depth = 0;
    while (my $sub = (caller $depth)[3]) {
        if (my $known = $SERVER{$sub}) {
            my ($name, $option, $number) = @$known;
            return ($name, $option, scalar eval { $number->(_invocant($depth)) });
        }
        $depth++;
    }
    return;
}

# Of the sub so many frames above the one that asks.
sub _invocant {
    my $depth = shift;

    package DB;    ## no critic (Modules::ProhibitMultiplePackages)
    my @frame = caller $depth + 2;
    return $DB::args[0];
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::Stream::WorkerRecycling - Says that a server ends its workers after few requests

=head1 SYNOPSIS

    use EventSource::Stream::WorkerRecycling;

    my $app = sub {
        my $env = shift;
        EventSource::Stream::WorkerRecycling->warn_once($env);
        my ($server, $option, $number) = EventSource::Stream::WorkerRecycling->limit($env);
        my $text = defined $number ? "$server ends this worker after $number requests ($option)" : 'no limit is known';
        return [200, ['Content-Type' => 'text/event-stream'], ["data: $text\n\n"]];
    };

=head1 DESCRIPTION

A native stream lives in the worker that began it, and ends with it. Where workers are recycled after a number of
requests, the ordinary requests of a busy site end all its streams every few seconds. Clients come back by themselves,
but it is seldom what was meant.

So L<Plack::App::EventSource> says it, once in each process, to C<psgi.errors>, when a native stream outlives its
handler on a server that blocks, and the number is below 10,000, in one line:

    EventSource::XS: Starman ends a worker and its event streams after 1000 requests; give it a larger
    --max-requests, such as 1000000

The number is known of

=over

=item Starman

C<--max-requests>, 1000 unless given. Found in the server's object, which is among the callers.

=item Starlet

C<--max-reqs-per-child>, 100 unless given (a smaller C<--min-reqs-per-child> is not looked at). Found in the same way.

=item uWSGI

C<max-requests>, none unless given. Found in the table of options that it gives to applications (C<uwsgi::opt>). Other
options that end workers (C<reload-on-rss>, C<max-worker-lifetime>, C<cheaper>) are not looked at.

=back

HTTP::Server::PSGI, Twiggy and Feersum recycle nothing by themselves. Of other servers, and of what restarts a server
from the outside, nothing is known, and nothing said.

=head1 METHODS

=head2 limit

    my ($server, $option, $number) = EventSource::Stream::WorkerRecycling->limit($env);

After how many requests the server that runs this ends its worker, and what its option for that is called. Nothing if
there is no such limit, or it is not known. To be called while the server calls the application, or the application
responds.

=head2 warn_once

    EventSource::Stream::WorkerRecycling->warn_once($env);

Says it, if it has not been said in this process and the number is low.

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut

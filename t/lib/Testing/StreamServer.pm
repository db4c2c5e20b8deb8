package Testing::StreamServer;
use strict;
use warnings;

# A server with one process that holds native streams (t/data/streams.psgi), and what a test asks of it.
#
#   on_each_server(sub {
#       my $server = shift;
#       my $client = $server->stream(name => 'a', keepalive => 0.5);
#       $server->push(name => 'a', count => 3);
#       $client->leave;
#       $server->ended_ok('a', 'client');
#   });

use parent 'Testing::Server';
use Carp qw(croak);
use Testing::Client;
use Testing::Deadline       qw(wait_until);
use Testing::Developer      qw(needs);
use Exporter                qw(import);
use File::Temp              ();
use JSON::PP                ();
use Testing::NumberedEvents qw(numbers);
use Testing::SlowReader;
use Test::More;

our @EXPORT_OK = qw(on_each_server path);

my $DEADLINE = 10;    # seconds; for what should happen at once

my @SERVERS = qw(HTTP::Server::PSGI Starman Twiggy Feersum);

# One process, which is not replaced after some requests.
my %START = (
    'Starman' => [workers => 1, args => ['--max-requests',       1_000_000]],
    'Starlet' => [workers => 1, args => ['--max-reqs-per-child', 1_000_000]],
    'uWSGI'   => [workers => 1, args => ['--max-requests',       1_000_000]],
);

# Public functions and methods

# A path with a query.
sub path {
    my ($path, %query) = @_;
    return "$path?" . join '&', map { "$_=$query{$_}" } sort keys %query;
}

# Runs a test on each server, or on those that are named.
sub on_each_server {
    my ($test, @names) = @_;
    for my $name (@names ? @names : @SERVERS) {
        subtest $name => sub {
            needs(Testing::Server->missing($name));
            my $server = Testing::StreamServer->start($name);
            $test->($server);
            $server->stop;
        };
    }
    return;
}

# What the application answers, in a connection of its own.
sub ask {
    my ($self, $path, %query) = @_;
    my $client = Testing::Client->get($self->port, path($path, %query), headers => [Connection => 'close']);
    $client->read_all && $client->complete or croak "StreamServer: $path was not answered";
    croak "StreamServer: $path: " . $client->body if $client->status != 200;
    $client->leave;
    return $client->body;
}

# Where something under /proc of the process that holds the streams is.
sub proc { return '/proc/' . $_[0]->stats->{pid} . "/$_[1]" }

# How many descriptors the process has that holds the streams.
sub descriptors {
    my $self = shift;
    my $pid  = $self->stats->{pid};
    return scalar(() = glob "/proc/$pid/fd/*");
}

# Why a stream has ended, if it has.
sub ended { return $_[0]->stats->{why}{$_[1]} }

# Waits until a stream has ended, and makes a test of why.
sub ended_ok {
    my ($self, $name, $why, $what) = @_;
    my $ended;
    wait_until($DEADLINE, sub { defined($ended = $self->ended($name)) });
    return is $ended, $why, $what || "$name ends: $why";
}

# How the first client of its server fares that comes while something is wrong, which one piece of code begins and
# another ends: native, writer, refused or broken. In a sound response it gets all or, where it was refused, nothing;
# broken ones are at least no mixture.
sub fares {
    my ($self, $begin, $end) = @_;
    my $is_loop = $self->{name} =~ /Twiggy|Feersum/;
    $self->stream(name => 'first', native => 0)->leave;    # loads what is loaded later
    $self->rests_ok;
    $begin->();
    my $path   = path($is_loop ? '/held' : '/export', name => 'fares', count => 3, bytes => 10);
    my $client = Testing::Client->get($self->port, $path);
    $client->read_until(qr/held|id: 3/, 0.5);              # it may even not be accepted
    $end->();
    $client->read_until(qr/held|id: 3/);
    if ($is_loop) { $self->ask($_, name => 'fares', count => 3, bytes => 10) for '/push', '/close' }
    ok $client->read_all, 'its response ends';
    my @numbers = numbers($client->text =~ s/^event: held\r\n\r\n|\Aretry: [0-9]+\r\n\r\n\z//r);
    my ($fares) = map { $_ ? 'native' : 'writer' } $self->journal('fares') =~ /begins, native: ([01])/;
    if    (!$client->complete) { $fares = 'broken' }
    elsif (!@numbers)          { $fares = 'refused' }
    else                       { is_deeply \@numbers, [1, 2, 3], 'it gets all' }
    $self->serves_ok;
    return $fares;
}

# How many streams have begun on the server's writer.
sub fell_back {
    my $self = shift;
    my $file = $self->{journal}->filename;
    open my $journal, '<', $file or croak "$file: $!";
    return scalar grep { /begins, native: 0/ } readline $journal;
}

# What the handler of a stream has told so far.
sub journal {
    my ($self, $name) = @_;
    my $file = $self->{journal}->filename;
    open my $journal, '<', $file or croak "$file: $!";
    return join '', map { /\A\Q$name\E (.*)/s ? $1 : () } readline $journal;
}

# Waits until a handler has told it, and makes a test of that.
sub journal_ok {
    my ($self, $name, $pattern, $what) = @_;
    my $told;
    wait_until($DEADLINE, sub { ($told = $self->journal($name)) =~ $pattern });
    return like $told, $pattern, $what;
}

# Pushes numbered events to a stream: name; from, 1 unless given; count; bytes of data, each. How many were taken.
sub push { my $self = shift; return $self->ask('/push', @_) }

# The thread that writes the streams.
sub reactor {
    my $self = shift;
    my $pid  = $self->stats->{pid};
    for my $comm (glob "/proc/$pid/task/*/comm") {
        open my $name, '<', $comm or next;
        return $1 if (readline($name) // '') eq "eventsource-xs\n" && $comm =~ m{/task/([0-9]+)/};
    }
    return croak 'StreamServer: there is no reactor';
}

# Waits until no stream is left, and makes a test of that.
sub rests_ok {
    my ($self, $what) = @_;
    my $stats;
    my $rests = wait_until($DEADLINE, sub { $stats = $self->stats; !$stats->{native} && !$stats->{buffered} });
    return ok $rests, $what || 'no stream is left, and nothing waits' || diag explain $stats;
}

# That the server answers an ordinary request, and opens a native stream.
sub serves_ok {
    my ($self, $what) = @_;
    my $client = $self->stream(name => 'serves');
    my $serves = $self->ask('/plain') eq 'plain' && $self->push(name => 'serves', count => 1);
    $serves &&= $self->stats->{held}{serves}{native} && $client->read_until(qr/^data: 1\.1\.1/m);
    $client->leave;
    return ok $serves, $what || 'the next request is served, and the next stream';
}

sub start {
    my ($class, $name, %option) = @_;
    my $journal = File::Temp->new(TEMPLATE => 'journal-XXXXXX', TMPDIR => 1);
    my $env     = {STREAMS_JOURNAL => $journal->filename, %{$option{env} || {}}};
    my @start   = (@{$START{$name} || []}, %option, env => $env);
    my $self    = $class->SUPER::start($name, 't/data/streams.psgi', @start);
    $self->{journal} = $journal;
    return $self;
}

# What the process has counted, with its pid, and with why each stream has ended.
sub stats { return JSON::PP::decode_json($_[0]->ask('/stats')) }

# A client of a stream that has begun, of the class that option `class` names. The other options are for the stream: its
# name, and attributes of Plack::App::EventSource.
sub stream {
    my ($self, %option) = @_;
    my $class  = delete $option{class} || 'Testing::Client';
    my $client = $class->get($self->port, path('/held', %option));
    $client->read_until(qr/^event: held\r\n\r\n/m) or croak "StreamServer: no stream $option{name}: " . $client->body;
    substr $client->{body}, 0, $+[0], '' if $client->body =~ /^event: held\r\n\r\n/m;
    return $client;
}

1;

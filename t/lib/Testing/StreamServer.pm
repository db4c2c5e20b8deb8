package Testing::StreamServer;
use Testing;

# A server with one process and native streams (t/data/streams.psgi), and the requests and checks of its tests.
#
#   on_each_server sub {
#       my $server = shift;
#       my $client = $server->stream(name => 'a', keepalive => 0.5);
#       $server->push(name => 'a', count => 3);
#       $client->leave;
#       $server->ended_ok('a', 'client');
#   };

use parent 'Testing::Server';
use Carp qw(croak);
use Testing::Client;
use Exporter                qw(import);
use Testing::NumberedEvents qw(numbers);
use Testing::Process        qw(descriptors_of);
use Testing::Server         qw(path);
use Testing::SourceTree     qw(slurp);

our @EXPORT_OK = qw(on_each_server path);

my @SERVERS = qw(HTTP::Server::PSGI Starman Twiggy Feersum);

# Runs a test on each of the named servers, by default on @SERVERS, as far as tests of this folder use them.
sub on_each_server {
    my $test  = pop;
    my @names = @{$_[0] || []};
    for my $name (Testing::Server->tested(@names ? @names : @SERVERS)) {
        subtest $name => sub {
            my $server = Testing::StreamServer->start($name);
            $test->($server);
            $server->stop;
        };
    }
    return;
}

# Returns a path under /proc of the process with the streams.
sub proc { return '/proc/' . $_[0]->stats->{pid} . "/$_[1]" }

# Returns the number of descriptors of the process with the streams.
sub descriptors { return descriptors_of($_[0]->stats->{pid}) }

# Returns the reason of a stream's end; undef if it is open.
sub ended { return $_[0]->stats->{why}{$_[1]} }

# Waits until a stream has ended, and makes a test of the reason.
sub ended_ok {
    my ($self, $name, $why, $what) = @_;
    my $ended;
    wait_until(sub { defined($ended = $self->ended($name)) });
    return is $ended, $why, $what || "the stream $name ends with the reason $why";
}

# Returns how the first client of a server is served during a fault: native, writer, refused or broken. One sub begins the
# fault, another ends it. A complete response has every event or, if refused, none.
sub fares {
    my ($self, $begin, $end) = @_;
    my $is_loop = $self->{name} =~ /Twiggy|Feersum/;
    $self->stream(name => 'first', native => 0)->leave;    # loads the modules that streams need
    $self->rests_ok;
    $begin->();
    my $path   = path($is_loop ? '/held' : '/export', name => 'fares', count => 3, bytes => 10);
    my $client = Testing::Client->get($self->port, $path);
    $client->read_until(qr/held|id: 3/, 0.5);              # the connection may not even be accepted
    $end->();
    $client->read_until(qr/held|id: 3/);
    if ($is_loop) { $self->ask($_, name => 'fares', count => 3, bytes => 10) for '/push', '/close' }
    ok $client->read_all, 'the response during the fault ends';
    my @numbers = numbers($client->text =~ s/^event: held\r\n\r\n|\Aretry: [0-9]+\r\n\z//r);
    my ($fares) = map { $_ ? 'native' : 'writer' } $self->journal('fares') =~ /begins, native: ([01])/;
    if    (!$client->complete) { $fares = 'broken' }
    elsif (!@numbers)          { $fares = 'refused' }
    else                       { is_deeply \@numbers, [1, 2, 3], 'the client receives every event once' }
    $self->serves_ok;
    return $fares;
}

# Returns how many streams have begun on the server's writer.
sub fell_back {
    my $self = shift;
    return scalar(() = slurp($self->{journal}->path) =~ /begins, native: 0/g);
}

# Pushes numbered events to the stream `name`: `count` events from number `from` (by default 1), of that many `bytes` of data.
# Returns how many were accepted.
sub push { my $self = shift; return $self->ask('/push', @_) }

# Returns the thread id of the reactor.
sub reactor {
    my $self = shift;
    my $pid  = $self->stats->{pid};
    for my $comm (glob "/proc/$pid/task/*/comm") {
        open my $name, '<', $comm or next;
        return $1 if (readline($name) // '') eq "eventsource-xs\n" && $comm =~ m{/task/([0-9]+)/};
    }
    return croak 'StreamServer: there is no reactor';
}

# Waits until no stream is left, and makes a test of it.
sub rests_ok {
    my ($self, $what) = @_;
    my $stats;
    my $rests = wait_until(sub { $stats = $self->stats; !$stats->{native} && !$stats->{buffered} });
    return ok($rests, $what || 'no stream is left and no byte is buffered') || diag(explain($stats));
}

# Checks that the server answers an ordinary request, and opens a native stream.
sub serves_ok {
    my ($self, $what) = @_;
    my $client = $self->stream(name => 'serves');
    my $serves = $self->ask('/plain') eq 'plain' && $self->push(name => 'serves', count => 1);
    $serves &&= $self->stats->{held}{serves}{native} && $client->read_until(qr/^data: 1\.1\.1/m);
    $client->leave;
    return ok $serves, $what || 'the server answers the next request and opens a native stream';
}

sub start {
    my ($class, $name, %option) = @_;
    return $class->SUPER::start($name, 't/data/streams.psgi', workers => 1, journal => 1, %option);
}

# Opens a stream and waits until it has begun. Returns its client, of the class in option `class`. The other options are for
# the stream: its name, and attributes of Plack::App::EventSource.
sub stream {
    my ($self, %option) = @_;
    my $class  = delete $option{class} || 'Testing::Client';
    my $client = $class->get($self->port, path('/held', %option));
    $client->read_until(qr/^event: held\r\n\r\n/m) or croak "StreamServer: no stream $option{name}: " . $client->body;
    substr $client->{body}, 0, $+[0], '' if $client->body =~ /^event: held\r\n\r\n/m;
    return $client;
}

1;

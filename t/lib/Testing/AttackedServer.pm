package Testing::AttackedServer;
use Testing;

# A server under attack (t/data/attack.psgi), with two workers if it has workers. After each attack the server must be
# sound: every worker is free, no stream is open, no descriptor is leaked.
#
#   on_each_server sub {
#       my $server = shift;
#       $server->prepare('/native');
#       $server->attack("GET /native HTTP/1.1\r\nHost: a\r\n\r\n" x 2);
#       $server->is_sound_ok('after two pipelined requests');
#   };

use parent 'Testing::Server';
use Exporter   qw(import);
use File::Temp ();
use JSON::PP   ();
use Testing::Journal;
use IO::Select;
use IO::Socket::INET;
use List::Util qw(sum0);

our @EXPORT_OK = qw(on_each_server);

my $DEADLINE = 10;    # seconds; for what should happen at once
my $MEET     = 6;     # seconds within which all workers answer at once

# How each server is started.
my @TWO   = (workers => 2);
my %START = (
    'HTTP::Server::PSGI'       => ['HTTP::Server::PSGI'],
    'Starman'                  => ['Starman', @TWO],
    'Starman, no keep-alive'   => ['Starman', @TWO, args => ['--disable-keepalive']],
    'Starlet'                  => ['Starlet', @TWO],
    'Starlet, with keep-alive' => ['Starlet', @TWO, args => ['--max-keepalive-reqs', 100]],
    'Twiggy'                   => ['Twiggy'],
    'Feersum'                  => ['Feersum'],
    'uWSGI'                    => ['uWSGI',                  @TWO],
    'uWSGI, with keep-alive'   => ['uWSGI, with keep-alive', @TWO],
);

my $meetings = 0;

# Runs a test on each of the named servers, by default on all, as far as tests of this folder use them.
sub on_each_server {
    my $test  = pop;
    my @names = @{$_[0] || []};
    for my $name (Testing::Server->tested(@names ? @names : sort keys %START)) {
        subtest $name => sub {
            my ($kind, %option) = @{$START{$name}};
            my $server = Testing::AttackedServer->start($kind, %option);
            $test->($server);
            $server->stop;
        };
    }
    return;
}

# Sends bytes and leaves, with `until` only when the response matches that pattern. Returns what has been received.
sub attack {
    my ($self, $bytes, $until) = @_;
    my $client = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $self->port, Proto => 'tcp')
        or die "AttackedServer: no connection: $!\n";
    my $got      = '';
    my $deadline = time + $DEADLINE;
    local $SIG{PIPE} = 'IGNORE';
    syswrite $client, $bytes;
    while (defined $until && $got !~ $until && time < $deadline && IO::Select->new($client)->can_read($DEADLINE)) {
        last if !sysread $client, $got, 65_536, length $got;
    }
    close $client;
    return $got;
}

# Runs a part of the test as a subtest. Fails at once if the server is broken, for everything would fail at its deadline.
sub case {
    my ($self, $name, $code) = @_;
    return fail "$name: not run, for the server is broken" if $self->{is_broken};
    return subtest $name => $code;
}

# Opens a stream at a path in each worker. Returns the clients when all streams have begun.
sub everywhere {
    my ($self, $path) = @_;
    my $meet    = $self->_meeting;
    my @clients = map { $self->get("$path?meet=$meet&tag=prepared") } 1 .. $self->{count};
    $_->read_until(qr/^(?:data|id): /m) || die "AttackedServer: no stream at $path: " . $_->body for @clients;
    return @clients;
}

# Waits until every worker is free, no stream is open, and no more descriptors are open than when the server was prepared;
# makes a test of it.
sub is_sound_ok {
    my ($self, $what) = @_;
    my @states;
    my $sound = wait_until $DEADLINE, sub {
        @states = $self->states or return;
        return !sum0(map { $_->{open} } @states) && sum0(map { $_->{descriptors} } @states) <= $self->{descriptors};
    };
    $self->{is_broken} ||= !$sound;
    my $expected = "at most $self->{descriptors} descriptors in $self->{count} workers";
    return ok($sound, "$what: every worker is free, no stream is open, no descriptor is leaked")
        || diag "expected: $expected; states: ", explain(@states ? \@states : 'not all workers are free');
}

# Returns the reports of the handler of the request with this tag.
sub reported { return $_[0]{reports}->reports($_[1]) }

# Opens a stream of each of these paths in every worker, and leaves, so that each worker has loaded and opened what it needs
# once. Counts the descriptors afterwards.
sub prepare {
    my ($self, @paths) = @_;
    for my $path (@paths) {
        $_->leave for $self->everywhere($path);
    }
    my @states;
    my $is_idle = sub {
        @states = $self->states;
        @states && !sum0(map { $_->{open} } @states);
    };
    my $last = -1;
    wait_until $DEADLINE, sub {
        return if !$is_idle->();
        my $before = $last;
        $last = sum0(map { $_->{descriptors} } @states);
        return $before == $last;
    } or die "AttackedServer: $self->{name} does not become idle\n";
    $self->{descriptors} = $last;
    return;
}

sub start {
    my ($class, $name, %option) = @_;
    my $folder  = File::Temp->newdir(TEMPLATE => 'attack-XXXXXX', TMPDIR => 1);
    my $env     = {ATTACK_FOLDER => $folder->dirname, %{$option{env} || {}}};
    my $journal = Testing::Journal->new("$folder/journal");
    my $self    = $class->SUPER::start($name, 't/data/attack.psgi', %option, env => $env);
    @$self{qw(attack_folder count reports)} = ($folder, $option{workers} || 1, $journal);
    return $self;
}

# Returns the state of each worker. All are asked at once, so that each answers once; empty if they do not.
sub states {
    my $self    = shift;
    my $meet    = $self->_meeting;
    my @clients = map { $self->get("/state?meet=$meet", headers => [Connection => 'close']) } 1 .. $self->{count};
    my @states  = map { $_->read_all($MEET) && $_->complete ? JSON::PP::decode_json($_->body) : {met => 0} } @clients;
    $_->leave for @clients;
    return if grep { !$_->{met} } @states;
    return @states;
}

# Sends a request, and runs code with its client after the server has read the request and before the application handles it.
# The first argument sends the request; it is given a parameter for the query.
sub while_handled {
    my ($self, $request, $code) = @_;
    my $name   = 'pause' . ++$meetings;
    my $client = $request->("meet=$name-2");
    wait_until($DEADLINE, sub { glob "$self->{attack_folder}/$name.*" })
        or die "AttackedServer: the request is not handled\n";
    $code->($client);
    open my $file, '>', "$self->{attack_folder}/$name.test" or die "$name: $!\n";
    return;
}

sub _meeting {
    my $self = shift;
    return 'meeting' . ++$meetings . "-$self->{count}";
}

1;

# A hub whose process is away: nobody listens, its Redis is away when it starts, or it is stopped. Streams hold no worker and no
# event loop meanwhile; their clients are told to come back; what comes back is served.

use lib 't/lib';
use Testing  qw(named_hubs);
use JSON::PP ();
use Testing::Client;
use Testing::Program;
use Testing::Redis;
use Testing::Server;
use Testing::SourceTree qw(write_file);
use Time::HiRes         qw(time);

my $TIMEOUT = 2;                        # seconds, of a call of the hub
my $QUICK   = 0.05;                     # seconds, in the median
my $LONGEST = 1;                        # seconds
my $CLIENTS = 8;
my @SERVERS = Testing::Server->names;

# For each situation: how the hub process goes away, and how it comes back.
my @SITUATIONS = (
    ['nobody listens',                        sub { },                                sub { $_[0]->start_hub }],
    ['Redis is away when the process starts', sub { $_[0]->start_hub_without_redis }, sub { $_[0]{redis}->restart }],
    ['the process is stopped',                sub { $_[0]->stop_hub }, sub { kill CONT => $_[0]{hub}->pid }],
);

sub new {
    my ($class, $name) = @_;
    my $self     = bless {folder => new_folder(), name => $name}, $class;
    my %settings = (name => 'test', socket => "$self->{folder}/hub.sock", autostart => 0, publish_timeout => $TIMEOUT);
    my $is_prefork = $name =~ /Starman|Starlet|uWSGI/;
    $self->{server} = Testing::Server->start(
        $name, 't/data/hub_away.psgi',
        ($is_prefork ? (workers => 2) : ()),
        env => {HUB_SETTINGS => JSON::PP::encode_json(\%settings)}
    );
    return $self;
}

sub start_hub {
    my ($self, @store) = @_;
    $self->{hub} = Testing::Program->new('eventsource-hub')->run({}, EventSource::Hub::Process->program,
        'run', '--name', 'test', '--socket', "$self->{folder}/hub.sock", @store);
    wait_until($DEADLINE, sub { -S "$self->{folder}/hub.sock" });
    return;
}

sub start_hub_without_redis {
    my $self  = shift;
    my $redis = $self->{redis} = Testing::Redis->start;
    $redis->kill;
    my $url = $redis->url;
    write_file("$self->{folder}/store", "$url\n");
    $self->start_hub('--store-from', "$self->{folder}/store");
    return;
}

sub stop_hub {
    my $self = shift;
    $self->start_hub;
    push @{$self->{clients}}, Testing::Client->stream($self->{server}->port, '/hub');
    kill STOP => $self->{hub}->pid;
    return;
}

# A stream of one subscription, and then one of several.
sub stream {
    my $self = shift;
    return Testing::Client->get($self->{server}->port, $self->{opened}++ % 2 ? '/several' : '/hub');
}

# Requests an ordinary page. Returns how long that took.
sub time_of {
    my ($self, $path) = @_;
    my $began = time;
    $self->{server}->ask($path);
    return time - $began;
}

# Requests some streams, and some pages directly after each. Returns the median of their times and the longest, and the streams.
sub times {
    my $self = shift;
    my (@clients, @times);
    for (1 .. $CLIENTS) {
        push @clients, $self->stream;
        push @times,   $self->time_of('/plain');
    }
    @times = sort { $a <=> $b } @times, map { $self->time_of('/plain') } 1 .. $CLIENTS;
    return ($times[@times / 2], $times[-1], @clients);
}

sub is_told { my $client = shift; return $client->body =~ /^retry: [0-9]+\n/m && $client->complete }

sub check {
    my ($name, $situation, $leave, $come) = @_;
    my $self = __PACKAGE__->new($name);
    $self->$leave;
    my ($median, $longest, @clients, @all);
    wait_until $DEADLINE, sub {
        ($median, $longest, @clients) = $self->times;
        push @all, @clients;
        return $median < $QUICK && $longest < $LONGEST;
    };
    cmp_ok $median,  '<', $QUICK,   "an ordinary request is answered at once";
    cmp_ok $longest, '<', $LONGEST, "no ordinary request waits";
    my $said = () = $self->{server}->log =~ /the hub \S+ failed/g;
    cmp_ok $said, '<=', 2, 'the log has at most one line of each worker about it';
    my $seconds = $self->time_of('/publish');
    cmp_ok $seconds, '<', $LONGEST, 'a publish that does not wait does not';

    # A stopped process has streams that were on their way to it.
    my $is_stopped = $situation =~ /stopped/;
    if (!$is_stopped) {
        $_->read_all for @all;
        is scalar(grep { !is_told($_) } @all), 0, 'clients are told to come back'
            or diag explain [map { $_->body } @all];
    }
    $self->$come;
    ok wait_until($DEADLINE, sub { $self->stream->read_until(qr/^id: /m, 1) }), 'a client that comes is served';
    if ($is_stopped) {
        is scalar(grep { !$_->read_until(qr/^id: /m) && !is_told($_) } @all), 0,
            'each stream continues, or its client is told to come back'
            or diag explain [map { $_->body } @all];
    }
    $self->end;
    return;
}

sub end {
    my $self = shift;
    $self->{server}->stop;
    if ($self->{hub}) { $self->{hub}->stop }
    return;
}

for my $name (@SERVERS) {
    for my $situation (@SITUATIONS) {
        subtest "$name: $situation->[0]" => sub {
            Testing::Redis->require_or_skip_all if $situation->[0] =~ /Redis/;
            check($name, @$situation);
        };
    }
}

done_testing;

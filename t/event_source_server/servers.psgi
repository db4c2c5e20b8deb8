# The application of t/event_source_server/servers.t: a server under each name, and paths that emit to it, stop it and
# report its state. All run in one process. With SERVER_HUB the hubs are named.

use Testing::Application qw(answer);
use EventSource::Server;
use EventSource::XS;
use Plack::Builder;

my %runs;       # the number of starts of each supply
my %emitter;    # the emitter of each supply's latest run

sub by_code {
    my ($name, $then) = @_;
    return sub {
        $emitter{$name} = shift;
        my $run = ++$runs{$name};
        $emitter{$name}->emit(begun => $run);
        return $then ? $then->($emitter{$name}) : ();
    };
}

# An iterator of numbers.
package Numbers {
    sub new { my ($class, $most) = @_; return bless {next => 1, most => $most}, $class }
    sub next { my $self = shift; return $self->{next} <= $self->{most} ? $self->{next}++ : undef }
}

my $lines;
if ($ENV{SUPPLY_LINES}) { open $lines, '+<', $ENV{SUPPLY_LINES} or die "$ENV{SUPPLY_LINES}: $!" }

# The kind of the hub for a server: with SERVER_HUB it has a name.
sub kind {
    my ($name, @otherwise) = @_;
    return $ENV{SERVER_HUB} ? (name => "$ENV{SERVER_HUB}-$name", idle_exit => 2) : @otherwise;
}

my $hub = EventSource::Hub->new(kind('shared', per_process => 1));

my %server = (
    plain  => EventSource::Server->new(kind('plain', per_process => 1)),
    lone   => EventSource::Server->new,
    shared => EventSource::Server->new(hub => $hub, channel => 'shared', start => -1),
    kept   => EventSource::Server->new(kind('kept', per_process => 1), keepalive => 1, keepalive_interval => 0.3),
    writer => EventSource::Server->new(kind('writer', per_process => 1), native => 0),
    code   => EventSource::Server->new(kind('code'), supply => by_code('code')),
    served => EventSource::Server->new(kind('served'), supply => by_code('served'), native => 0),
    dies => EventSource::Server->new(kind('dies'), supply => by_code('dies', sub { die "oops\n" if $runs{dies} == 1 })),
    iterator =>
        EventSource::Server->new(kind('iterator'), supply => Numbers->new(10_000), keep_history => {events => 20_000}),
    $lines ? (lines => EventSource::Server->new(kind('lines'), supply => $lines)) : (),
);
$server{second} = EventSource::Server->new(supply => $server{plain}->out_supply);

# /emit/plain?tick=one
my $of = sub {
    my $do = shift;
    return sub {
        my $env = shift;
        EventSource::XS->dispatch;
        my ($name) = $env->{PATH_INFO} =~ m{\A/(\w+)};
        return answer($do->($name, split /=/, $env->{QUERY_STRING}, 2) // 'none');
    };
};

builder {
    mount "/$_"       => $server{$_} for keys %server;
    mount '/emit'     => $of->(sub { my ($name, $type, $data) = @_; $server{$name}->emit($type => $data) });
    mount '/many'     => $of->(sub { my ($name, $count) = @_; $server{$name}->emit(n => $_) for 1 .. $count; $count });
    mount '/supplies' => $of->(sub { my ($name, $type, $data) = @_; $emitter{$name}->emit($type => $data) });
    mount '/quit'     => $of->(sub { my ($name, $why) = @_; $emitter{$name}->quit("$why\n"); 'quit' });
    mount '/runs'     => $of->(sub { $runs{$_[0]} || 0 });
    mount '/stop'     => $of->(sub { $server{$_[0]}->stop; 'stopped' });
    mount '/many-and-stop' => $of->(
        sub {
            my ($name, $count) = @_;
            $server{$name}->emit(n => $_) for 1 .. $count;
            $server{$name}->stop;
            return $count;
        }
    );
    mount '/publish' => $of->(sub { my ($channel, $data) = @_; $hub->publish($channel, $data) });
    mount '/own'     => sub { EventSource::Server->new(supply => by_code('own'))->(shift) };
    mount '/streams' => $of->(sub { EventSource::XS->stats->{open} });
};

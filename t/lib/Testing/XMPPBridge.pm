package Testing::XMPPBridge;
use Testing;

# `eventsource xmpp` with a hub of its own, and what it publishes there.
#
#   my $bridge = Testing::XMPPBridge->new({$prosody->as_component}, 'news', 'more/*');
#   $bridge->start;
#   is_deeply $bridge->data(news => 2), ['one', 'two'];    # waits for two events of the channel, and returns all
#   $bridge->kill;
#   is $bridge->stop, 0;

use EventSource::Hub;
use JSON::PP ();
use Testing::CommandLine;
use Testing::Deadline qw($DEADLINE wait_until);

# Public methods

# The channels of nodes that have events.
sub channels {
    my $self  = shift;
    my @names = map { (split /\t/)[0] } split /\n/, $self->{shell}->run('channels', @{$self->{at}})->{out};
    return grep { !m{\AEventSource::XMPP/} } @names;
}

# Waits for so many events of a channel, and returns the data of all, or the events.
sub data {
    my @given = @_;
    return [map { $_->{data} } @{events(@given)}];
}

sub events {
    my ($self, $channel, $count) = @_;
    my $events = [];
    wait_until($DEADLINE, sub { @{$events = $self->events_now($channel)} >= $count })
        or diag "$channel has " . @$events . ' events. The bridge: ' . $self->log;
    return $events;
}

sub events_now {
    my ($self, $channel) = @_;
    my $printed =
        $self->{shell}->run('tail', @{$self->{at}}, qw(--from-start --json --timeout 0.2 --channel), $channel)->{out};
    utf8::encode($printed) if utf8::is_utf8($printed);
    return [map { JSON::PP->new->utf8->decode($_) } split /\n/, $printed];
}

sub kill {
    my $self = shift;
    CORE::kill(KILL => $self->pid);
    wait_until($DEADLINE, sub { $self->{program}->has_ended });
    $self->{program}->stop;
    return;
}

sub log { return $_[0]{program} ? $_[0]{program}->log : 'not started' }

# The settings of Testing::Prosody, and nodes.
sub new {
    my ($class, $as, @nodes) = @_;
    my $self   = bless {shell => Testing::CommandLine->new, as => $as, nodes => \@nodes}, $class;
    my $socket = $self->{shell}->folder . '/test.sock';
    $self->{hub} =
        EventSource::Hub->new(name => 'test', socket => $socket, history => {events => 10_000}, idle_exit => 1);
    $self->{at} = ['--hub', 'test', '--socket', $socket];
    return $self;
}

sub hub { return $_[0]{hub} }

sub pid { return $_[0]{program}->pid }

sub program { return $_[0]{program} }

sub shell { return $_[0]{shell} }

# More arguments of the command may follow.
sub start {
    my ($self, @more) = @_;
    my %as = %{$self->{as}};
    local $ENV{EVENTSOURCE_XMPP_PASSWORD} = delete $as{password};
    my @as = map { ("--$_", $as{$_}) } sort keys %as;
    $self->{program} = $self->{shell}->start('xmpp', @{$self->{at}}, '--poll', 1, @as, @more, @{$self->{nodes}});
    return $self;
}

# Ends it by a signal, and returns its status.
sub stop { return $_[0]{program}->stop }

1;

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
use Testing::FollowedLog qw(followed);

# The channels of nodes that have events.
sub channels {
    my $self = shift;
    my @names;
    $self->{hub}->process->channels(undef, sub { push @names, $_[0]{name} });
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
    my $count = 0;
    eval {
        $self->{hub}->process->channels(undef, sub { $count = $_[0]{events} if $_[0]{name} eq $channel });
    };
    return [] if !$count;
    return [followed($self->{shell}->connect('xmpp', socket => $self->socket), $count, $channel)];
}

sub hub { return $_[0]{hub} }

# The hub has a store from now on.
sub keep_events {
    my ($self, $store) = @_;
    return $self->_open_hub(store => $store);
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
    $self->{at} = ['--hub', 'xmpp', '--socket', $socket];
    $self->_open_hub(socket => $socket);
    return $self;
}

sub pid { return $_[0]{program}->pid }

sub program { return $_[0]{program} }

# The hub shows channels in data from now on.
sub show_channels {
    my $self = shift;
    return $self->_open_hub(show_channel => 'data');
}

sub socket { return $_[0]{settings}{socket} }

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

# Waits until the hub knows that the item of a node was published.
sub wait_until_saved {
    my ($self, $node, $id) = @_;
    my $channel = "EventSource::XMPP/$self->{as}{service}/nodes/" . ($self->{as}{prefix} // '');
    return eventually_ok $DEADLINE, "it is saved that the item $id is published" => sub {
        my @saved = map { JSON::PP::decode_json($_->{data}) } @{$self->events_now($channel)};
        grep {
            $_->{node} eq $node && grep { $_->[0] eq $id }
                @{$_->{known}{items}}
        } @saved;
    };
}

sub _open_hub {
    my ($self, %settings) = @_;
    $self->{settings} = {%{$self->{settings} || {}}, %settings};
    $self->{hub}      = EventSource::Hub->new(
        name         => 'xmpp',
        keep_history => {events => 10_000, bytes => 1 << 26},
        idle_exit    => 1,
        %{$self->{settings}}
    );
    $self->{hub}->publish(begin => 'its process has these settings');
    return;
}

1;

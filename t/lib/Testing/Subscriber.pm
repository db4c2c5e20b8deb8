package Testing::Subscriber;
use strict;
use warnings;

# A stream of this process that is subscribed to channels of a hub, and the client at its other end; and functions that
# parse what a client of a hub has received.
#
#   my $subscriber = Testing::Subscriber->open($hub, 'news', {start => 'oldest'});
#   $hub->publish(news => 'hello');
#   is_deeply [$subscriber->data(1)], ['hello'];
#   is_deeply [blocks($client->text)], [{id => "$epoch-0"}, {id => "$epoch-1", data => 'hello'}];

use Carp              qw(croak);
use Exporter          qw(import);
use Testing::Deadline qw(wait_until);
use Testing::StreamPair;
use Plack::App::EventSource::Connection;

our @EXPORT_OK = qw(blocks events wait_for_events);

# The complete blocks of a text, each a hash of its fields as bytes; the lines of data are one, with breaks. A position has
# neither event nor data here, and the word of the hub is left out.
sub blocks {
    my $text = shift;
    my @blocks;
    while ($text =~ /\G(.*?)(?:\r\n|\n)(?:\r\n|\n)/gcs) {
        my %block;
        for my $line (split /\r\n|\n/, $1) {
            my ($name, $value) = $line =~ /\A([^:]*): ?(.*)\z/ or next;
            next if $name eq '';
            $block{$name} = $name eq 'data' && defined $block{data} ? "$block{data}\n$value" : $value;
        }
        delete @block{qw(event data)} if ($block{event} || '') eq 'position' && $block{data} eq '';
        push @blocks, \%block if %block && ($block{event} || '') ne 'eventsource-hub';
    }
    return @blocks;
}

# The blocks that are events, gaps included, positions not: those with data.
sub events {
    return grep { defined $_->{data} } blocks(@_);
}

# Waits until a client has received that many events. Returns all of its blocks.
sub wait_for_events {
    my ($client, $count) = @_;
    wait_until(sub { $client->read_until(qr/\z.^/, 0.01) || $client->ended || events($client->text) >= $count });
    return blocks($client->text);
}

# Waits until the client has received that many events. Returns all of its blocks.
sub blocks_at { return wait_for_events($_[0]{client}, $_[1]) }

sub client { return $_[0]{client} }

# Closes the stream. Returns all blocks that the client has received.
sub close {
    my $self = shift;
    $self->{conn}->close;
    $self->{client}->read_all or croak 'Subscriber: the stream does not end';
    return blocks($self->{client}->text);
}

sub conn { return $_[0]{conn} }

# Waits until the client has received that many events. Returns the data of all of them.
sub data {
    my ($self, $count) = @_;
    return map { $_->{data} } grep { defined $_->{data} } $self->blocks_at($count);
}

# Returns the client's last event ID.
sub last_id {
    my $self = shift;
    my @ids  = grep { defined } map { $_->{id} } blocks($self->{client}->text);
    return $ids[-1];
}

# Closes the stream. Returns the data of all events that the client has received; of a gap, its reason.
sub left {
    return map { $_->{data} =~ /"reason":"(\w+)"/ ? $1 : $_->{data} } grep { defined $_->{data} } $_[0]->close;
}

# Opens a stream and subscribes it. Option `stream`: settings of StreamPair; last_event_id: the id that the client has sent;
# all others are options of subscribe.
sub open {
    my ($class, $hub, @channels) = @_;
    my %option = ref $channels[-1] eq 'HASH' ? %{$channels[-1]} : ();
    my $given  = delete $option{stream} || {};
    my $id     = delete $option{last_event_id};
    pop @channels             if ref $channels[-1] eq 'HASH';
    push @channels, {%option} if %option;
    my ($stream, $client) = Testing::StreamPair->open(line_end => 'lf', %$given);
    my $conn =
        Plack::App::EventSource::Connection->new(stream => $stream, (defined $id ? (last_event_id => $id) : ()));
    my $self = bless {conn => $conn, client => $client}, $class;
    $self->{taken} = $hub->subscribe($conn, @channels);
    return $self;
}

# Returns the first block that the client receives.
sub position {
    my $self = shift;
    $self->{client}->read_until(qr/\n\r?\n/);
    return (blocks($self->{client}->text))[0];
}

1;

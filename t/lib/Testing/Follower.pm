package Testing::Follower;
use strict;
use warnings;

# A stream of this process that follows channels of a hub, and the client at its other end; and what any client of a hub
# has received, taken apart.
#
#   my $follower = Testing::Follower->open($hub, 'news', {start => 'oldest'});
#   $hub->publish(news => 'hello');
#   is_deeply [$follower->data(1)], ['hello'];
#   is_deeply [blocks($client->text)], [{id => "$epoch-0"}, {id => "$epoch-1", data => 'hello'}];

use Testing::Deadline qw(wait_until);
use Exporter          qw(import);
use Testing::Pair;
use Plack::App::EventSource::Connection;

our @EXPORT_OK = qw(blocks events sits_at);

my $DEADLINE = 10;    # seconds; for what should happen at once

# Public functions and methods

# The complete blocks of a text, each a hash of its fields as bytes; the lines of data are one, with breaks.
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
        push @blocks, \%block if %block;
    }
    return @blocks;
}

# Of these the events, gaps included: what has data.
sub events {
    return grep { defined $_->{data} } blocks(@_);
}

# Waits until a client has got so many events, and returns all of its blocks.
sub sits_at {
    my ($client, $count) = @_;
    wait_until($DEADLINE,
        sub { $client->read_until(qr/\z.^/, 0.01) || $client->ended || events($client->text) >= $count });
    return blocks($client->text);
}

# All blocks, once there are so many events.
sub blocks_at { return sits_at($_[0]{client}, $_[1]) }

sub client { return $_[0]{client} }

sub conn { return $_[0]{conn} }

# The data of all events, once there are so many.
sub data {
    my ($self, $count) = @_;
    return map { $_->{data} } grep { defined $_->{data} } $self->blocks_at($count);
}

# Its id so far, as a browser would know it.
sub last_id {
    my $self = shift;
    my @ids  = grep { defined } map { $_->{id} } blocks($self->{client}->text);
    return $ids[-1];
}

# Settings of the stream are those of Pair, in option `stream`; last_event_id is what its client has sent.
sub open {
    my ($class, $hub, @channels) = @_;
    my %option = ref $channels[-1] eq 'HASH' ? %{$channels[-1]} : ();
    my $given  = delete $option{stream} || {};
    my $id     = delete $option{last_event_id};
    pop @channels             if ref $channels[-1] eq 'HASH';
    push @channels, {%option} if %option;
    my ($stream, $client) = Testing::Pair->open(%$given);
    my $conn =
        Plack::App::EventSource::Connection->new(stream => $stream, (defined $id ? (last_event_id => $id) : ()));
    my $self = bless {conn => $conn, client => $client}, $class;
    $self->{taken} = $hub->subscribe($conn, @channels);
    return $self;
}

# The block that it begins with.
sub position {
    my $self = shift;
    $self->{client}->read_until(qr/\n\r?\n/);
    return (blocks($self->{client}->text))[0];
}

1;

# Clients that read the state slowly while members of it come, change and go: each receives a complete state without a gap,
# after a few times its size, also if it reads less than is published.

use lib 't/lib';
use Testing qw(native);
use EventSource::Hub;
use IO::Select;
use IO::Socket::INET;
use Plack::App::EventSource::Connection;
use Testing::SlowReader ();
use Testing::StreamPair ();
use Testing::Subscriber qw(blocks);

my $KEYS    = 400;
my $BYTES   = 3_000;     # of each: 1.2 MB are more than the sockets buffer
my $PORTION = 16_384;    # that the client reads between two changes

# What happens between two reads: how many keys change, how many come and as many of the oldest go.
my @CASES = (
    ['more is read than changes', changes => 1, comes => 2],
    ['more changes than is read', changes => 4, comes => 4],
    ['more comes and goes than is read, and the socket takes little', changes => 0, comes => 12, line_end => 'crlf'],
);

# The hub, with all that was published: [number, key, data, or undef if the key was forgotten].
sub hub {
    my $hub  = EventSource::Hub->new(keep_history => {events => 20}, on_slow => 'gap');
    my $self = {hub => $hub, keys => [], next => 0, told => []};
    come($self) for 1 .. $KEYS;
    return $self;
}

sub publish {
    my ($self, $key) = @_;
    my $data = "$key " . ++$self->{round} . ' ' . 'x' x $BYTES;
    my $id   = $self->{hub}->publish(room => {key => $key, data => $data, retain => 1});
    push @{$self->{told}}, [$id =~ /-([0-9]+)\z/, $key, $data];
    return;
}

sub come {
    my $self = shift;
    my $key  = 'k' . ++$self->{next};
    push @{$self->{keys}}, $key;
    return publish($self, $key);
}

sub go {
    my $self = shift;
    my $key  = shift @{$self->{keys}};
    my $id   = $self->{hub}->forget(room => $key, {event => 'gone', data => $key});
    push @{$self->{told}}, [$id =~ /-([0-9]+)\z/, $key, undef];
    return;
}

# The state as of a number.
sub state_at {
    my ($self, $number) = @_;
    my %state;
    for my $told (grep { $_->[0] <= $number } @{$self->{told}}) {
        my (undef, $key, $data) = @$told;
        if (defined $data) { $state{$key} = $data }
        else               { delete $state{$key} }
    }
    return \%state;
}

# The map of a page.
sub map_of {
    my %map;
    for my $block (@_) {
        my ($key) = split / /, $block->{data};
        if   (($block->{event} || '') eq 'gone') { delete $map{$key} }
        else                                     { $map{$key} = $block->{data} }
    }
    return \%map;
}

sub client_of {
    my ($hub, %setting) = @_;
    my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0, Listen => 1)
        or die "no listener: $!";
    my $client = Testing::SlowReader->get($listener->sockport, '/');
    my $socket = $listener->accept;
    sysread $socket, my $request, 65_536;
    my $number = EventSource::XS::_duplicate(fileno $socket);
    my $stream = Testing::StreamPair->stream($number, line_end => 'lf', %setting);
    my $conn   = Plack::App::EventSource::Connection->new(stream => $stream);
    $hub->subscribe($conn, 'room', {start => 'state'});
    return ($client, $conn);
}

for my $case (@CASES) {
    my ($name, %option) = @$case;
    subtest $name => sub {
        my ($changes, $comes) = delete @option{qw(changes comes)};
        my $self = hub();
        my ($client, $conn) = client_of($self->{hub}, %option);
        my $size   = $KEYS * $BYTES;
        my $select = IO::Select->new($client->{socket});
        my $text   = '';
        while (substr($text, -2 * $PORTION) !~ /^event: position\r?$/m && length $text < 6 * $size) {
            $select->can_read($DEADLINE) && sysread $client->{socket}, $text, $PORTION, length $text
                or return fail "the stream ends after $size bytes";
            publish($self, $self->{keys}[rand @{$self->{keys}}]) for 1 .. $changes;
            for (1 .. $comes) { come($self); go($self) }
        }
        my ($state, $last) = $text =~ /\A.*?\r\n\r\n(.*)(event: position.*)\z/s
            or return fail 'the state is complete after ' . length($text) . ' bytes';
        pass sprintf 'the state is complete after %.1f times its size', length($text) / $size;
        my @blocks = blocks($state);
        ok !(grep { ($_->{event} || '') eq 'gap' } @blocks), 'no gap has interrupted it';
        $last .= read_more($client) while $last !~ /^id: .*\n/m;
        my ($number) = $last =~ /^id: .*-([0-9]+)/m;
        my ($map, $expected) = (map_of(@blocks), state_at($self, $number));
        is_deeply [sort keys %$map], [sort keys %$expected], 'it has the keys of the state as of the position';
        ok !(grep { ($map->{$_} // '') ne $expected->{$_} } keys %$expected), 'with their values then';
        $conn->close;
        $client->leave;
    };
}

sub read_more {
    my $client = shift;
    IO::Select->new($client->{socket})->can_read($DEADLINE) && sysread $client->{socket}, my $more, $PORTION
        or die "the stream ends\n";
    return $more;
}

done_testing;

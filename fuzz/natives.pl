# The calls of streams and hubs for boundary.pl: native streams on pairs of sockets, connections on them, and hubs. Each stream
# has a number, which all data for it contains. Data that arrives at another client is a failure.

use strict;
use warnings;

use Errno ();
use EventSource::Hub;
use EventSource::XS::Stream::Native;
use IO::Select ();
use Plack::App::EventSource::Connection;
use Scalar::Util qw(refaddr);
use Time::HiRes  ();

my $DEADLINE = 10;          # seconds within which a closed stream must end
my @NAMES    = qw(a b c);
my %SETTINGS = (
    keepalive    => 0,
    linger       => 0,
    max_buffered => 1_000_000,
    max_streams  => 1_000,
    on_slow      => 'disconnect',
    opening      => '',
    timeout      => 60,
);

our %object;       # streams, connections and hubs by name, which are called, and which saboteurs free and replace
my %client;        # the clients' sockets, by the streams' numbers
my %number;        # the streams' numbers, by their addresses
my @subscribed;    # the streams with subscriptions: a hub keeps them open, so they have to be closed
my @reused;        # scalars that reuse the memory of freed ones

sub open_stream {
    my ($how, $class) = @_;
    socketpair my $ours, my $theirs, 1, 1, 0 or die "socketpair: $!\n";    # AF_UNIX, SOCK_STREAM
    defined(my $copy = EventSource::XS::_duplicate(fileno $theirs)) or die "no descriptor: $!\n";
    my $stream = $how->($copy);
    my $number = 1 + keys %client;
    $client{$number} = $ours;
    $number{refaddr $stream} = $number;
    return $stream;
}

# Returns a reference to a number that runs code when it is read.
sub reluctant {
    my $value = shift;
    tie my $tied, 'Reluctant', $value;
    return \$tied;
}

# Returns the key of an object: s for a stream, c for a connection, h for a hub, and the name. Makes a missing object, up to a
# number of objects.
sub object_named {
    my ($kind, $name) = @_;
    my $key = "$kind$name";
    return $key if $object{$key} || keys %client > 8;
    if    ($kind eq 'h') { $object{$key} = EventSource::Hub->new(per_process => 1, history => {events => 5}) }
    elsif ($kind eq 'c') {
        $object{$key} = Plack::App::EventSource::Connection->new(stream => $object{object_named('s', $name)});
    }
    else {
        $object{$key} = open_stream(sub { EventSource::XS::Stream::Native->open($_[0], '', %SETTINGS, is_loop => 0) });
    }
    return $key;
}

sub name { return $NAMES[main::byte() % @NAMES] }

# Returns bytes with the number of the stream that they are for, or an argument that runs code before it returns such bytes.
sub marked {
    my $stream = shift;
    my $text   = 'mark=' . (ref $stream && $number{refaddr $stream} || 0) . "\n";
    return main::byte() & 1 ? $text : bless {text => $text}, 'Marked';
}

# The functions that are called with a native object and further arguments. Each arms the saboteurs only when the arguments
# are prepared, because perl's own functions do not withstand them.
my @CALLS = (
    sub {
        my $key    = object_named('c', name());
        my $marked = marked($object{$key} && $object{$key}{stream});
        $main::armed = 1;
        Plack::App::EventSource::Connection::push($object{$key}, $marked, @_);
    },
    sub {
        my $key    = object_named('s', name());
        my $marked = marked($object{$key});
        $main::armed = 1;
        EventSource::XS::Stream::Native::write($object{$key}, $marked);
    },
    sub {
        my $key = object_named('s', name());
        $main::armed = 1;
        EventSource::XS::Stream::Native::write($object{$key}, $_[0]);
    },
    sub {
        my $key     = object_named('h', name());
        my $epoch   = $object{$key} ? $object{$key}->epoch : '';
        my $channel = name();
        $main::armed = 1;
        my $id = EventSource::Hub::publish($object{$key}, main::byte() & 1 ? $channel : $_[0], $_[1]);
        $main::armed = 0;
        main::broken("published in another hub: $id") if $id =~ /\A([0-9a-v]{8})-[0-9]+\z/ && $1 ne $epoch;
    },
    sub {
        my ($hub, $stream) = (object_named('h', name()), object_named('s', name()));
        my @topics = map { (main::byte() & 1 ? 'channel' : 'pattern', $_) } name(), @_;
        my $start  = reluctant((qw(latest oldest state))[main::byte() % 3]);
        push @subscribed, $object{$stream} if $object{$stream};
        $main::armed = 1;
        EventSource::Hub::_subscribe(
            $object{$hub}, $object{$stream}, undef,
            after => $_[0],
            start => $$start,
            3, @topics
        );
    },
    sub {
        my $key = object_named('h', name());
        $main::armed = 1;
        EventSource::Hub::_call($object{$key}, 'subscribers', $_[0]);
    },
    sub {
        my $key     = object_named('h', name());
        my $seconds = reluctant(0);
        $main::armed = 1;
        EventSource::Hub::_call($object{$key}, 'drain', $$seconds);
    },
    sub {
        my $key    = object_named('s', name());
        my $reason = bless {text => 'application'}, 'Marked';
        my $given  = main::byte() & 1;
        $main::armed = 1;
        EventSource::XS::Stream::Native::_close($object{$key}, $given ? $_[0] : $reason);
    },
    sub {
        my $key  = object_named('s', name());
        my $time = reluctant(1);
        $main::armed = 1;
        EventSource::XS::Stream::Native::_wait_for_end($object{$key}, $$time);
    },
    sub {
        my $head     = bless {text => 'head'}, 'Marked';
        my $settings = settings();
        open_stream(
            sub {
                my $descriptor = shift;
                $main::armed = 1;
                my $stream = eval { EventSource::XS::Stream::Native->_open($descriptor, $head, 0, $settings) };
                $main::armed = 0;
                if (defined $descriptor && !$stream) { open my $left, '+<&=', $descriptor or die "fdopen: $!\n" }
                return $stream || die $@;
            }
        );
    },
    sub { EventSource::Hub::_call($object{object_named('h', name())}, 'count') },
);

# Returns the settings of a stream. Reading some of them has run code.
sub settings {
    my @values = (@SETTINGS{qw(keepalive timeout)}, 0, 0, @SETTINGS{qw(max_buffered max_streams)}, (0) x 5);
    tie $values[$_], 'Reluctant', $values[$_] for grep { main::byte() & 1 } 0 .. $#values;
    return {made => EventSource::XS::Stream::Native::_settings(@values)};
}

# Returns one of the calls.
sub native_call { return $CALLS[main::byte() % @CALLS] }

# Damages one of the objects, for a saboteur.
sub harm {
    my $what  = main::byte() % 5;
    my @keys  = sort keys %object or return;
    my $key   = $keys[main::byte() % @keys];
    my $other = $object{object_named(substr($key, 0, 1), name())};    # a new one, if there is none
    if    ($what == 0) { delete $object{$key} }
    elsif ($what == 1) { $object{$key} = $other; return }
    elsif ($what == 2) { undef $object{$key} }
    elsif ($what == 3) { %object = () }
    elsif ($what == 4) {
        eval { $object{$key}->close; 1 }
    }
    push @reused, $other, $other, $other;
    return;
}

# Ends all streams and checks the data that the clients have received.
sub finish_natives {
    @reused = ();
    $_->_close('application') for @subscribed, map { $object{$_} || () } grep { /\As/ } keys %object;
    @subscribed = ();
    %object     = ();
    for my $number (sort keys %client) {
        my $bytes = received($client{$number});
        while ($bytes =~ /mark=([0-9]+)/g) {
            main::broken("client $number received data of stream $1") if $1 != $number;
        }
        main::broken('freed bytes were sent') if $bytes =~ /spoilt/;
    }
    %client = %number = ();
    return;
}

sub received {
    my $client   = shift;
    my $bytes    = '';
    my $select   = IO::Select->new($client);
    my $deadline = Time::HiRes::time() + $DEADLINE;
    while ((my $left = $deadline - Time::HiRes::time()) > 0) {
        $select->can_read($left) or next;    # the fuzzer's timer interrupts it
        my $count = sysread $client, $bytes, 65_536, length $bytes;
        return $bytes if defined $count ? !$count : !$!{EINTR};
    }
    main::broken('a stream does not end');
    return $bytes;
}

{

    package Marked;
    use overload '""' => sub { main::act(); return $_[0]{text} };
}
{

    package Reluctant;
    sub TIESCALAR { my ($class, $value) = @_; return bless \$value, $class }
    sub FETCH     { main::act();              return ${$_[0]} }
    sub STORE     { }
}

1;

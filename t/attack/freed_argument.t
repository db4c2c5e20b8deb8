# Attack: an argument, while it is read, frees or replaces the object whose method is called. Another client's object may
# then have the memory of the first one. No byte may reach another client.

use lib 't/lib';
use Testing qw(native);
use EventSource::Hub;
use Testing::StreamPair;
use Plack::App::EventSource::Connection;
use Time::HiRes ();

my $SECRET = "data: secret of the victim\n\n";

# A string and a tied scalar that run code when they are read.
package Saboteur {    ## no critic (Modules::ProhibitMultiplePackages)
    use overload '""' => sub { $_[0]{act}->(); $_[0]{text} };
    sub new       { my ($class, $text, $act) = @_; return bless {text => $text, act => $act}, $class }
    sub TIESCALAR { my ($class, $text, $act) = @_; return $class->new($text, $act) }
    sub FETCH     { $_[0]{act}->(); return $_[0]{text} }
}

# The actions on the element of a hash that holds the object.
my @reused;
my %DEED = (
    'is deleted, and its scalar is reused' => sub {
        my ($hash, $name, $other) = @_;
        delete $hash->{$name};
        push @reused, $other, $other, $other;
    },
    'is assigned another object' => sub {
        my ($hash, $name, $other) = @_;
        $hash->{$name} = $other;
    },
);
my %READ = (
    'an overloaded argument' => sub { return \Saboteur->new(@_) },
    'a tied argument'        => sub { tie my $tied, 'Saboteur', @_; return \$tied },
);

# Runs a test for each of %DEED and each of %READ.
sub each_way {
    my ($what, $test) = @_;
    for my $deed (sort keys %DEED) {
        for my $read (sort keys %READ) {
            subtest "$what: while $read is read, it $deed" => sub {
                eval { $test->($DEED{$deed}, $READ{$read}); 1 } or fail "the test dies: $@";
            };
        }
    }
    @reused = ();
    return;
}

# Two streams with a client each.
sub two {
    my %setting = @_;
    my ($victim, $its_client)   = Testing::StreamPair->open(%setting);
    my ($other,  $other_client) = Testing::StreamPair->open(%setting);
    return ($victim, $other, $its_client, $other_client);
}

# Closes a stream. Returns what its client has received.
sub received {
    my ($stream, $client) = @_;
    $stream->close;
    $client->read_all or diag 'the stream does not end';
    return $client->body;
}

sub connection { return Plack::App::EventSource::Connection->new(stream => $_[0], is_handle => 1) }

each_way 'push' => sub {
    my ($deed, $read) = @_;
    my ($victim, $other, $its_client, $other_client) = two();
    my %held  = (victim => connection($victim));
    my $param = $read->('secret', sub { $deed->(\%held, 'victim', connection($other)) });
    ok $held{victim}->push('the', $$param), 'the event is taken';
    is received($other,  $other_client), '',                                  'the other client receives nothing';
    is received($victim, $its_client),   "data: the\r\ndata: secret\r\n\r\n", 'the intended client receives the event';
};

each_way 'write' => sub {
    my ($deed, $read) = @_;
    my ($victim, $other, $its_client, $other_client) = two();
    my %held  = (victim => $victim);
    my $param = $read->($SECRET, sub { $deed->(\%held, 'victim', $other) });
    ok $held{victim}->write($$param), 'the event is taken';
    is received($other,  $other_client), '',      'the other client receives nothing';
    is received($victim, $its_client),   $SECRET, 'the intended client receives the event';
};

each_way 'close' => sub {
    my ($deed, $read) = @_;
    my ($victim, $other, $its_client, $other_client) = two();
    my %held  = (victim => $victim);
    my $param = $read->('application', sub { $deed->(\%held, 'victim', $other) });
    $held{victim}->_close($$param);
    ok $other->is_open,   'the other stream stays open';
    ok !$victim->is_open, 'the stream that it was called on is closed';
};

each_way 'publish' => sub {
    my ($deed, $read) = @_;
    my ($victim, $other, $its_client, $other_client) = two();
    my %held     = (victim => EventSource::Hub->new(per_process => 1));
    my $original = $held{victim};
    my $else     = EventSource::Hub->new(per_process => 1);
    $original->subscribe(connection($victim), 'news');
    $else->subscribe(connection($other), 'news');
    my $param = $read->('secret', sub { $deed->(\%held, 'victim', $else) });
    ok $held{victim}->publish(news => $$param), 'the event is published';
    is $else->stats->{published}, 0, 'the other hub publishes nothing';
    unlike received($other, $other_client), qr/secret/, 'the client of the other hub receives nothing';
    ok $its_client->read_until(qr/^data: secret\r\n/m), 'the intended client receives the event';
    $victim->close;
};

each_way 'subscribers' => sub {
    my ($deed, $read) = @_;
    my ($victim, $other, @clients) = two();
    my %held     = (victim => EventSource::Hub->new(per_process => 1));
    my $original = $held{victim};
    my $else     = EventSource::Hub->new(per_process => 1);
    $else->subscribe(connection($other), 'news');
    my $param = $read->('news', sub { $deed->(\%held, 'victim', $else) });
    is $held{victim}->subscribers($$param), 0, 'those of the hub that was asked';
    $_->close for $victim, $other;
};

subtest 'push: the handler of a signal frees the connection while push waits for room' => sub {
    my ($victim, $other, @clients) = two(is_loop => 0, on_full => 'block', max_buffered => 10_000);
    my %held = (victim => connection($victim));
    my $since;    # of the push, which waits if it lasts

    # If a push to this one is not taken, it dies of EventSource::Gone.
    my $unwinds = Plack::App::EventSource::Connection->new(stream => $other, is_handle => 1, unwind => \(my $pid = $$));
    local $SIG{ALRM} = sub {
        return Time::HiRes::alarm(0.2) if Time::HiRes::time() - $since < 0.1;
        delete $held{victim};
        push @reused, $unwinds, $unwinds, $unwinds;
        $victim->close;
    };
    Time::HiRes::alarm(0.2);
    my $text     = 'x' x 9_000;
    my $is_taken = 1;
    my $returns  = eval {
        while ($is_taken) {
            $since    = Time::HiRes::time();
            $is_taken = $held{victim}->push($text);
        }
        1;
    };
    ok $returns,   'push returns, as the connection that it was called on asks' or diag ref $@ || $@;
    ok !$is_taken, 'false';
    @reused = ();
    $_->leave_handler for $victim, $other;
    $other->close;
};

# A pattern is a reference to its text. An application may bless one of its own.
sub pattern { my $text = shift; return bless ref $text ? $text : \$text, 'EventSource::XS::Hub::Pattern' }

my %CHANGE = (
    freed => sub {
        my $text = shift;
        undef $$text;
        return map { 'spoilt' . 'y' x 31 } 1 .. 200;
    },
    changed => sub { my $text = shift; substr $$text, 0, 6, 'secret'; return },
);
for my $change (sort keys %CHANGE) {
    subtest "subscribe: a pattern is $change while the next one is read" => sub {
        my ($stream, $client) = Testing::StreamPair->open;
        my $hub   = EventSource::Hub->new(per_process => 1);
        my $conn  = connection($stream);
        my $first = 'public/' . 'x' x 30;
        my @spoil;
        my $text = '';
        $text .= $first;    # an assignment would share the buffer
        my $second = Saboteur->new('other', sub { @spoil = $CHANGE{$change}->(\$text) });
        $hub->subscribe($conn, pattern(\$text), pattern(\$second));
        $hub->publish($_ => "of $_") for $first, 'secret/' . 'x' x 30, 'spoilt' . 'y' x 31;
        $hub->subscribe($conn, 'last');
        $hub->publish(last => 'end');
        ok $client->read_until(qr/^data: end\r\n/m), 'the stream continues';
        is join('', $client->body =~ tr/\r//dr =~ /^data: (of .*\n)/mg), "of $first\n",
            'the pattern counts as it was read';
        $stream->close;
    };
}

subtest 'subscribe: a forged object of the pattern class is refused' => sub {
    my ($stream, $client) = Testing::StreamPair->open;
    my $hub = EventSource::Hub->new(per_process => 1);
    for my $forged ([], {}, sub { }) {
        my $kind = ref $forged;
        ok !eval { $hub->subscribe(connection($stream), bless $forged, 'EventSource::XS::Hub::Pattern'); 1 }, $kind;
        like $@, qr/\AEventSource::Hub: a pattern must be a string, not a reference to \w+ at \Q$0\E line \d+\.\n\z/,
            'at the line of the caller';
    }
    $stream->close;
};

done_testing;

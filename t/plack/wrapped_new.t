# An application that wraps the connection's new, as code for the original does, has streams with all methods. Which results are
# those of the original: t/plack/original.t.

use lib 't/lib';
use Testing qw(native);
use EventSource::XS;
use Plack::App::EventSource;
use Testing::RecordingWriter;
use Testing::StreamPair;

my $NEW = Plack::App::EventSource::Connection->can('new');
my (@pushed, $run);
{
    no warnings 'redefine';
    *Plack::App::EventSource::Connection::new = sub {
        my ($class, %given) = @_;
        my $push = $given{push_cb};
        return $NEW->($class, %given, push_cb => sub { push @pushed, @_; return $push->(@_) });
    };
}
my %ATTRIBUTES = (handler_cb => sub { $run->(@_) }, native => 0);
my %ENV        = (
    REQUEST_METHOD     => 'GET',
    HTTP_LAST_EVENT_ID => 7,
    'psgi.streaming'   => 1,
    'psgi.nonblocking' => 1,
    'psgi.errors'      => \*STDERR,
);

# Runs a handler on the writer of a server with an event loop. Returns the writer.
sub handle {
    ($run, my %attributes) = @_;
    my $writer = Testing::RecordingWriter->new;
    Plack::App::EventSource->new(%ATTRIBUTES, %attributes)->to_app->({%ENV})->(sub { $writer });
    return $writer;
}

subtest 'the connection has all methods of a stream' => sub {
    my ($kept, @closed);
    my $writer = handle sub {
        $kept = shift;
        is $kept->last_event_id, 7, 'it knows the last event ID';
        ok !$kept->is_native, 'it knows its stream';
        $kept->on_close(sub { push @closed, @_ });
        ok $kept->push('one'), 'push says that the stream has taken it';
    };
    ok $kept->is_open,                             'it is open after the handler';
    ok $kept->push({id => 8, data => "\x{263A}"}), 'a push from outside is taken';
    $kept->finish;
    is $writer->kept,
        "data: one\r\n\r\nid: 8\r\ndata: \xE2\x98\xBA\r\n\r\n"
        . "event: finish\r\nid: eventsource-finished\r\ndata: finish\r\n\r\n",
        'the client receives all';
    is scalar @pushed, 3, 'the wrapper has seen all';
    ok !$kept->is_open,      'it is open no longer';
    ok !$kept->push('late'), 'a later push returns false';
    EventSource::XS->dispatch;
    is_deeply \@closed, [$kept, 'application'], 'on_close is given the connection that the handler has';
};

subtest 'an attribute of the application' => sub {
    my $writer = handle(sub { shift->push("\xE9"); return }, characters => 1);
    is $writer->kept, "data: \xC3\xA9\r\n\r\n", 'characters holds for the push behind the callback';
};

# What is kept: the connection, or what holds it.
sub handle_native {
    my ($handler, %attribute) = @_;
    my ($stream,  $client)    = Testing::StreamPair->open(%attribute);
    $run = $handler;
    Plack::App::EventSource->new(%ATTRIBUTES, on_gone => 'unwind')->run_handler($stream, {%ENV});
    return $client;
}

subtest 'a native stream' => sub {
    my $kept;
    my $client = handle_native sub {
        $kept = shift;
        $kept->push('native');
        $kept->on_close(sub { });
        return;
    };
    ok $client->read_until(qr/data: native/), 'a push arrives';
    ok $kept->is_native,                      'it is native';
    undef $kept;
    $client = handle_native(
        sub {
            shift->on_close(sub { });
            return;
        },
        is_loop => 0
    );
    ok $client->read_all, 'a connection that the application releases ends its stream';
};

subtest 'on_gone' => sub {
    my $reached;
    handle_native sub {
        my $conn = shift;
        $conn->close;
        $conn->push('x');
        $reached = 1;
    }, is_loop => 0;
    ok !$reached, 'a push to a client that has left ends the handler';
};

done_testing;

# Exceptions of the native functions: an EventSource::Error with a code and a field, whose string is what croak would give.

use lib 't/lib';
use Testing;
use EventSource::Hub;
use EventSource::Parser;
use EventSource::XS qw(format_event);
use HTTP::ServerEvent;
use Scalar::Util qw(blessed);

my $LINUX     = $^O eq 'linux';
my $has_trace = eval { require Test::LeakTrace; 1 };
my $parser    = EventSource::Parser->new(max_event => 10);
my $hub       = $LINUX && EventSource::Hub->new(per_process => 1);
my $wide      = "d\x{E4}t\x{E4}\x{263A}";

sub push_bytes { return EventSource::XS::_push_bytes(@_) }

# The name of a case, the call, the code, the field, the message.
my @CASES = (
    [
        'format_event: a line break in id',
        sub { format_event(id => "a\nb") },
        'invalid', 'id', 'EventSource::XS: id must not contain a line break'
    ],
    [
        'format_event: NUL in event',
        sub { format_event(event => "\0") },
        'invalid', 'event', 'EventSource::XS: event must not contain NUL'
    ],
    [
        'format_event: letters in retry',
        sub { format_event(retry => 'soon') },
        'invalid', 'retry', 'EventSource::XS: retry must be a whole number of milliseconds, in ASCII digits'
    ],
    [
        'format_event: bytes that are not UTF-8',
        sub { format_event(comment => "\xE9", bytes => 1) },
        'invalid',
        'comment',
        'EventSource::XS: comment must be valid UTF-8'
    ],
    [
        'format_event: characters as bytes',
        sub { format_event(data => "\x{263A}", bytes => 1) },
        'invalid', 'bytes', 'EventSource::XS: bytes is set, but a string holds a character above U+00FF'
    ],
    [
        'format_event: an unknown field',
        sub { format_event($wide => 1) },
        'invalid',
        $wide,
        "EventSource::XS: unknown field '$wide'"
    ],
    [
        'format_event: a reference as id',
        sub { format_event(id => [1]) },
        'invalid', 'id',
        'EventSource::XS: id must be a string, not a reference to ARRAY; a structure goes into json => ...'
    ],
    [
        'format_event: undef in an array of data',
        sub { format_event(data => [undef]) },
        'invalid', 'data', 'EventSource::XS: element 0 of data is undefined'
    ],
    [
        'format_event: a reference in an array of data',
        sub { format_event(data => [{}]) },
        'invalid', 'data',
        'EventSource::XS: each element of data must be a string, not a reference to HASH; did you mean json => ...?'
    ],
    [
        'format_event: data beside json',
        sub { format_event(data => 1, json => 1) },
        'invalid', 'json', 'EventSource::XS: data and json exclude each other'
    ],
    [
        'format_event: an odd number of arguments',
        sub { format_event(data => 1, 'id') },
        'invalid', undef, 'EventSource::XS: format_event takes a hash reference, or names and values in pairs'
    ],
    [
        'format_event: no field',
        sub { format_event() },
        'invalid', undef, 'EventSource::XS: an event needs one of event, id, retry, data, json, comment'
    ],
    [
        'push: a line break in id',
        sub { push_bytes(0, {id => "\r", data => 1}) },
        'invalid', 'id', 'EventSource::XS: id must not contain a line break'
    ],
    [
        'as_string: a line break in event',
        sub { HTTP::ServerEvent->as_string(event => "\x{263A}\n") },
        'invalid', 'event', "Newline or null detected in event type '\x{263A}\n'. Possible event injection."
    ],
    [
        'parser: an event above the bound',
        sub { $parser->feed('x' x 20) },
        'invalid', 'max_event', 'EventSource::Parser: an event is larger than max_event, 10 bytes'
    ],
    [
        'parser: undef instead of bytes',
        sub { $parser->feed(undef) },
        'invalid', 'bytes', 'EventSource::Parser: feed takes a string of bytes, not undef'
    ],
    [
        'parser: characters instead of bytes',
        sub { $parser->feed("\x{263A}") },
        'invalid', 'bytes', 'EventSource::Parser: feed takes bytes, this string holds a character above U+00FF'
    ],
    [
        'parser: another object',
        sub { EventSource::Parser::feed({}, 'x') },
        'invalid', undef, 'EventSource::Parser: this is not a parser; make one with EventSource::Parser->new'
    ],
    [
        'parser: a second attachment',
        sub { $parser->_attach(1) },
        'state', undef, 'EventSource::Parser: this is a parser already'
    ],
    [
        'parser: max_event of 0',
        sub { EventSource::Parser->new(max_event => 0) },
        'invalid', 'max_event', 'EventSource::Parser: max_event must be a whole number of bytes from 1 on'
    ],
    [
        'parser: an unknown option',
        sub { EventSource::Parser->new(max_evnt => 1) },
        'invalid', 'max_evnt',
        "EventSource::Parser: unknown option 'max_evnt'; did you mean max_event? (known: max_event)"
    ],
);
push @CASES,
    (
    [
        'publish: an id with a control character',
        sub { $hub->publish(a => {id => "\x01", data => 1}) },
        'invalid',
        'id',
        'EventSource::Hub: id must not contain a control character other than TAB: '
            . 'no client could send it back; remove it'
    ],
    [
        'publish: an id of the hub',
        sub { $hub->publish(a => {id => $hub->epoch . '-7', data => 1}) },
        'invalid', 'id', "EventSource::Hub: id must not begin as the hub's own ids do"
    ],
    [
        'publish: an id that ends with a space',
        sub { $hub->publish(a => {id => '7 ', data => 1}) },
        'invalid', 'id',
        'EventSource::Hub: id must not begin or end with a space or TAB: no client could send it back; remove them'
    ],
    [
        'publish: a retry of more than a day',
        sub { $hub->publish(a => {retry => 86_400_001}) },
        'invalid', 'retry', 'EventSource::Hub: retry must be at most 86400000 milliseconds, a day'
    ],
    [
        'publish: the event for gaps',
        sub { $hub->publish(a => {event => 'gap', data => 1}) },
        'invalid', 'event',
        q(EventSource::Hub: event must not be the name of the hub's event for gaps: choose another, or set gap_event)
    ],
    [
        'publish: undef as the event',
        sub { $hub->publish(a => undef) },
        'invalid', 'data', 'EventSource::Hub: publish takes data, or a hash of fields, not undef'
    ],
    [
        'publish: a channel without a name',
        sub { $hub->publish('', 'x') },
        'invalid', 'channel', q(EventSource::Hub: a channel's name must be a string that is not empty)
    ],
    [
        'publish: a reference as the channel',
        sub { $hub->publish([], 'x') },
        'invalid', 'channel', q(EventSource::Hub: a channel's name must be a string, not a reference to ARRAY)
    ],
    [
        'publish: a long key',
        sub { $hub->publish(a => {key => 'x' x 1025, data => 1}) },
        'invalid', 'key', 'EventSource::Hub: key must have at most 1024 bytes in UTF-8'
    ],
    [
        'publish: another object',
        sub { EventSource::Hub::publish({}, a => 1) },
        'invalid', undef, 'EventSource::Hub: this is not a hub; make one with EventSource::Hub->new'
    ],
    [
        'close: an unknown reason',
        sub { EventSource::XS::Stream::Native::_close({}, 'boredom') },
        'invalid', 'reason', q(EventSource::XS::Stream::Native: 'boredom' is not a reason to close a stream)
    ],
    ) if $LINUX;

for my $case (@CASES) {
    my ($name, $call, $code, $field, $message) = @$case;
    $parser->finish;
    my ($file, $line) = (__FILE__, undef);
    subtest $name => sub {
        ok !eval { $call->(); 1 }, 'dies';
        my $error = $@;
        ok blessed $error && $error->isa('EventSource::Error'), 'the exception is an EventSource::Error'
            or return diag $error;
        $line = $error->line;
        is $error->code,    $code,                             'code';
        is $error->field,   $field,                            'field';
        is $error->message, $message,                          'message';
        is $error->file,    $file,                             'file';
        is "$error",        "$message at $file line $line.\n", 'the string has message, file and line';
    };
}

subtest 'the line is the line of the call' => sub {
    my $line = __LINE__ + 1;
    eval { format_event(id => "\n") };
    is $@->line, $line, 'of a native function';
    $line = __LINE__ + 1;
    eval { EventSource::Parser->new(max_event => 'x') };
    is $@->line, $line, 'of a constructor in Perl';
    $line = __LINE__ + 3;
    eval {
        if    (!$line)                    { fail 'the first branch is not taken' }
        elsif (format_event(id => "a\n")) { fail 'the call dies' }
    };
    is "$@", "EventSource::XS: id must not contain a line break at ${\__FILE__} line $line.\n",
        'in an elsif, the string';
    is $@->line, $line, 'in an elsif, the member';
};

subtest 'the string of a native exception names the handle that was read last, as that of die does' => sub {
    open my $in, '<', __FILE__ or die "${\__FILE__}: $!\n";
    my $first = <$in>;
    my $line  = __LINE__ + 1;
    eval { format_event(id => "\n") };
    is "$@", "EventSource::XS: id must not contain a line break at ${\__FILE__} line $line, <\$in> line 1.\n", 'string';
    is $@->file, __FILE__,                                                                                     'file';
    is $@->line, $line,                                                                                        'line';
};

subtest 'an exception of Perl code in an argument passes through unchanged' => sub {
    {

        package Dying;
        use overload '""' => sub { die {own => 1} };
    }
    eval { format_event(data => bless [], 'Dying') };
    is_deeply $@, {own => 1}, 'as it was thrown';
};

subtest 'a handler of $SIG{__DIE__} receives the object' => sub {
    my $received;
    local $SIG{__DIE__} = sub { $received = $_[0] };
    eval { format_event(id => "\n") };
    is $received->code, 'invalid', 'code';
};

subtest 'an exception leaks no memory' => sub {
    plan skip_all => 'Test::LeakTrace is not installed' if !$has_trace;
    for my $case (@CASES) {
        my ($name, $call) = @$case;
        $parser->finish;
        eval { $call->() };
        eval { $call->() };
        Test::LeakTrace::no_leaks_ok(
            sub {
                eval { $call->() }
            },
            $name
        );
    }
};

subtest 'a number that the library does not know is a defect, not the last that it knows' => sub {
    plan skip_all => 'there are no hubs on this system' if !$LINUX;
    my $made =
        eval { (bless {}, 'EventSource::Hub')->_attach({EventSource::Hub::_native_settings(), on_slow => 3}); 1 };
    ok !$made, 'the call dies';
    is $@->code, 'internal', 'the code';
    like $@, qr/: internal error: 3 from C is no on_slow /, 'the message';
};

done_testing;

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

# The call, the code, the field, and the message behind the name of the module: one of each place that throws. All others, with
# their fields and messages, are in t/format, t/parser, t/hub/publish.t, t/attack/ids.t and t/settings/mistakes.t.
my %CASES = (
    'EventSource::XS' => [
        [sub { push_bytes(0, {id => "\r", data => 1}) }, 'invalid', 'id', 'id must not contain a line break'],
        [sub { format_event($wide => 1) },       'invalid', $wide,  "unknown field '$wide'"],
        [sub { format_event(data  => [undef]) }, 'invalid', 'data', 'element 0 of data is undefined'],
        [
            sub { format_event() },
            'invalid', undef, 'an event needs one of event, id, retry, data, json, comment; undef leaves one out'
        ],
    ],
    'EventSource::Parser' => [
        [sub { $parser->feed('x' x 20) }, 'invalid', 'max_event', 'an event is larger than max_event, 10 bytes'],
        [sub { $parser->_attach(1) },     'state',   undef,       'this is a parser already'],
        [
            sub { EventSource::Parser::feed({}, 'x') },
            'invalid', undef, 'this is not a parser; make one with EventSource::Parser->new'
        ],
    ],
    !$LINUX
    ? ()
    : (
        'EventSource::Hub' => [
            [
                sub { $hub->publish(a => {id => $hub->epoch . '-7', data => 1}) },
                'invalid', 'id', "id must not begin as the hub's own ids do"
            ],
            [
                sub { EventSource::Hub::publish({}, a => 1) },
                'invalid', undef, 'this is not a hub; make one with EventSource::Hub->new'
            ],
        ],
        'EventSource::XS::Stream::Native' => [
            [
                sub { EventSource::XS::Stream::Native::_close({}, 'client') },
                'invalid', undef, 'this is not a stream; open one with EventSource::XS::Stream->open'
            ],
        ]
    ),
);
my @CASES = map {
    my $module = $_;
    map { my ($call, @rest) = @$_; [$call, @rest[0, 1], "$module: $rest[2]"] } @{$CASES{$module}}
} sort keys %CASES;
push @CASES,
    [
    sub { HTTP::ServerEvent->as_string(event => "\x{263A}\n") },
    'invalid', 'event', "Newline or null detected in event type '\x{263A}\n'. Possible event injection."
    ];

for my $case (@CASES) {
    my ($call, $code, $field, $message) = @$case;
    my $name = $message =~ s/\n/~/gr;
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

    package Dying {
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
        my ($call, undef, undef, $message) = @$case;
        $parser->finish;
        eval { $call->() };
        eval { $call->() };
        Test::LeakTrace::no_leaks_ok(
            sub {
                eval { $call->() }
            },
            $message
        );
    }
};

subtest 'a name that the library does not know is a defect' => sub {
    plan skip_all => 'there are no hubs on this system' if !$LINUX;
    my $made = eval { (bless {}, 'EventSource::Hub')->_attach(on_slow => 'later'); 1 };
    ok !$made, 'the call dies';
    is $@->code, 'internal', 'the code';
    like $@, qr/: internal error: later from C is no on_slow /, 'the message';
};

done_testing;

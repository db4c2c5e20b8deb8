# With EVENTSOURCE_XS_DEBUG a string of characters that is encoded already gives a warning.

use lib 't/lib';
use Testing;

BEGIN { $ENV{EVENTSOURCE_XS_DEBUG} = 1 }

use EventSource::Hub;
use EventSource::XS qw(format_event);
use Plack::App::EventSource;

my $ENCODED = "gr\xC3\xB6\xC3\x9Fe";
my $flagged = $ENCODED;
utf8::upgrade($flagged);

sub suspect {
    return "EventSource::XS: $_[0] looks like bytes in UTF-8, and is encoded once more; decode it, or set bytes => 1";
}

# What is called, at one line each, and the field that the warning names.
my @SUSPECT = (
    ['format_event'                  => 'data',  sub { format_event(data => $ENCODED) }],
    ['a string with the flag'        => 'data',  sub { format_event(data => $flagged) }],
    ['event in a hash'               => 'event', sub { format_event({event => $ENCODED, data => 1}) }],
    ['a line of data'                => 'data',  sub { format_event(data => ['a', $ENCODED]) }],
    ['a string in json'              => 'data',  sub { format_event(json => {text => $ENCODED}) }],
    ['push with characters'          => 'data',  sub { EventSource::XS::_push_bytes(1, $ENCODED) }],
    ['a field, push with characters' => 'id',    sub { EventSource::XS::_push_bytes(1, {id   => $ENCODED}) }],
    ['json, push without characters' => 'data',  sub { EventSource::XS::_push_bytes(0, {json => $ENCODED}) }],
);

my @RIGHT = (
    ['characters'              => sub { format_event(data => 'größe ☺') }],
    ['characters below U+0100' => sub { format_event(data => "gr\xF6\xDFe") }],
    ['ASCII'                   => sub { format_event(data => 'text',   id    => 7, retry => 5) }],
    ['bytes'                   => sub { format_event(data => $ENCODED, bytes => 1) }],
    ['push without characters' => sub { EventSource::XS::_push_bytes(0, $ENCODED) }],
    ['push of bytes'           => sub { EventSource::XS::_push_bytes(1, {data => $ENCODED, bytes => 1}) }],
    ['an empty push'           => sub { EventSource::XS::_push_bytes(1, '', undef, {}) }],
);

if ($^O eq 'linux') {
    my $hub = EventSource::Hub->new(per_process => 1);
    push @SUSPECT, ['publish'          => 'data', sub { $hub->publish(news => $ENCODED) }];
    push @RIGHT,   ['publish of bytes' => sub { $hub->publish(news => {data => $ENCODED, bytes => 1}) }];
}

sub warnings_of {
    my $code = shift;
    my @warnings;
    local $SIG{__WARN__} = sub { push @warnings, @_ };
    $code->() for 1 .. 2;
    return map { s/ at \Q${\__FILE__}\E line [0-9]+[.]\n\z//r } @warnings;
}

is_deeply [warnings_of($_->[2])], [suspect($_->[1])], "$_->[0]: one warning, at the caller's line" for @SUSPECT;
is_deeply [warnings_of($_->[1])], [],                 "$_->[0]: no warning"                        for @RIGHT;

subtest 'another mistake in the same call has a warning of its own' => sub {
    for my $case (
        [
            'an unknown field' => 'ignores the unknown',
            sub { EventSource::XS::_push_bytes(1, {evnet => 1, data => $ENCODED}) }
        ],
        ['names and values' => 'did you mean push', sub { EventSource::XS::_push_bytes(1, data => $ENCODED) }],
    ) {
        my ($what, $text, $code) = @$case;
        my @warnings = sort { ($a =~ /\Q$text/) <=> ($b =~ /\Q$text/) } warnings_of($code);
        is scalar @warnings, 2,               "$what: two warnings";
        is $warnings[0],     suspect('data'), "$what: one of them is that of the encoding";
        like $warnings[1], qr/\Q$text/, "$what: the other one is its own";
    }
};

subtest 'streams of characters' => sub {
    require Test::EventSource;
    for my $case (
        [0      => sub { $_[0]->push({data => $ENCODED}); $_[0]->close }],
        ['auto' => sub { $_[0]->push({data => $ENCODED}); $_[0]->close }],
    ) {
        my ($native, $handler) = @$case;
        my $app = Plack::App::EventSource->new(handler_cb => $handler, characters => 1, native => $native);
        my @warnings;
        local $SIG{__WARN__} = sub { push @warnings, $_[0] =~ s/ at \Q${\__FILE__}\E line [0-9]+[.]\n\z//r };
        for (1 .. 2) {
            my $event = Test::EventSource->new(app => $app)->get('/')->next_event;
            is $event->{data}, $ENCODED, "native => $native: the client receives each byte as a character";
        }
        is_deeply \@warnings, [suspect('data')], "native => $native: one warning, at the line of the push";
    }
};

subtest 'a handler of the warning that changes the argument does not change the event' => sub {
    my $text = $ENCODED;
    local $SIG{__WARN__} = sub { $text = 'changed' x 99 };
    is format_event(data => $text), "data: gr\xC3\x83\xC2\xB6\xC3\x83\xC2\x9Fe\n\n",
        'the event has the text that was given';
    is $text, 'changed' x 99, 'the handler has run';
    local $SIG{__WARN__} = sub { die "stop\n" };
    ok !eval { EventSource::XS::_push_bytes(1, 'a', $ENCODED); 1 }, 'a handler that dies ends the push';
    is $@, "stop\n", 'with its exception';
};

done_testing;

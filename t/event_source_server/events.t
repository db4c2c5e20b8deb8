# The values that emit accepts, their encoding, and the errors of emit. t/settings/mistakes.t has those of new.

use lib 't/lib';
use Testing;
use EventSource::Server;

my $LINE = qr/ at \Q${\__FILE__}\E line /;

# The bytes that a tap of a new server receives for one call of emit.
sub tapped {
    my @event = @_;
    my @bytes;
    my $es = EventSource::Server->new;
    $es->out_supply->tap(sub { push @bytes, $_[0] });
    ok defined $es->emit(@event), 'emit returns an id';
    return join '|', @bytes;
}

package Text {
    use overload '""' => sub { "text of $_[0][0]" }, fallback => 1;
    sub new { my ($class, $what) = @_; return bless [$what], $class }
}

my $smile = "\x{263A}";

my @FORMS = (
    ['a string'                      => ['one'],                            "data: one\n\n"],
    ['an empty string'               => [''],                               "data: \n\n"],
    ['a number'                      => [0],                                "data: 0\n\n"],
    ['characters'                    => [$smile],                           "data: \xE2\x98\xBA\n\n"],
    ['a type and its data'           => [tick => 'one'],                    "event: tick\ndata: one\n\n"],
    ['no type and data'              => [undef, 'one'],                     "data: one\n\n"],
    ['an array of type and data'     => [['tick', 'one']],                  "event: tick\ndata: one\n\n"],
    ['a hash with a type'            => [{type => 'tick', data => 'one'}],  "event: tick\ndata: one\n\n"],
    ['a hash with an event'          => [{event => 'tick', data => 'one'}], "event: tick\ndata: one\n\n"],
    ['a hash with an undefined type' => [{type => undef, data => 'one'}],   "data: one\n\n"],
    [
        'a hash with an event and an undefined type' => [{type => undef, event => 'e', data => 'one'}],
        "event: e\ndata: one\n\n"
    ],
    ['all fields'    => [{type => 't', id => 7, retry => 9, data => 'd'}], "event: t\nid: 7\nretry: 9\ndata: d\n\n"],
    ['a structure'   => [{json => {n => 1}}],                              qq(data: {"n":1}\n\n)],
    ['several lines' => ["a\nb\r\nc\n"],                                   "data: a\ndata: b\ndata: c\ndata: \n\n"],
    ['an array of lines'                        => [{data => ['a', 'b']}],                 "data: a\ndata: b\n\n"],
    ['UTF-8'                                    => [{data => "\xE2\x98\xBA", bytes => 1}], "data: \xE2\x98\xBA\n\n"],
    ['an object that overloads stringification' => [Text->new('one')],                     "data: text of one\n\n"],
    [
        'a type and an object that overloads stringification' => [tick => Text->new('one')],
        "event: tick\ndata: text of one\n\n"
    ],
    [
        'an event' => [EventSource::Server::Event->new(type => 'foo', data => "a\nb\nc")],
        "event: foo\ndata: a\ndata: b\ndata: c\n\n"
    ],
);

for my $form (@FORMS) {
    my ($name, $event, $bytes) = @$form;
    subtest $name => sub {
        is tapped(@$event), $bytes, 'the tap receives the encoded event';
    };
}

subtest 'emit does not change its arguments' => sub {
    my %event = (type => 'tick', data => 'one');
    tapped(\%event);
    is_deeply \%event, {type => 'tick', data => 'one'}, 'the hash has its type and data';
};

subtest 'an EventSource::Server::Event returns its type, data and encoding' => sub {
    my $event = EventSource::Server::Event->new({type => 'foo', data => "a\nb"});
    is $event->type,   'foo',                              'type returns the type';
    is $event->data,   "a\nb",                             'data returns the data';
    is $event->encode, "event: foo\ndata: a\ndata: b\n\n", 'encode returns the bytes';
    is(EventSource::Server::Event->new(data => 'x')->type, undef, 'type is undef if none was given');
};

subtest "emit croaks at the caller's line if its argument is not an event" => sub {
    my $es    = EventSource::Server->new;
    my $count = 0;
    $es->out_supply->tap(sub { $count++ });
    for my $case (
        [[]                                        => qr/EventSource::Server: an event is a string, a hash/],
        [[1, 2, 3]                                 => qr/EventSource::Server: an event is a string, a hash/],
        [[undef]                                   => qr/EventSource::Server: .* not undef/],
        [[['a']]                                   => qr/EventSource::Server: .* not an array of 1/],
        [[sub { }]                                 => qr/EventSource::Server: .* not a reference of the kind CODE/],
        [[bless {}, 'Other']                       => qr/EventSource::Server: .* not a Other/],
        [[{type => 'a', event => 'b', data => ''}] => qr/EventSource::Server: type and event are one field/],
        [[{type => "a\nb", data => ''}]            => qr/event must not contain a line break/],
        [["a\nb" => '']                            => qr/event must not contain a line break/],
        [[{id => "a\r", data => ''}]               => qr/id must not contain a line break/],
        [[{retry => 'soon', data => ''}]           => qr/retry must /],
        [[{colour => 'red', data => ''}]           => qr/'colour'/],
        [[{}]                                      => qr/an event needs one of/],
    ) {
        my ($event, $why) = @$case;
        my $line = __LINE__ + 1;
        ok !eval { $es->emit(@$event); 1 }, "emit croaks: $why";
        like $@, qr/$why.*$LINE$line\b/s, "the error names the caller's line: $why";
    }
    is $count, 0, 'no invalid event was sent to a tap';
    ok defined $es->emit('fine'), 'a valid event is accepted after invalid ones';
    is $count, 1, 'the valid event was sent to the tap';
};

done_testing;

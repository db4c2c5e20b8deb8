# What may be emitted, how it is encoded, and what croaks.

use strict;
use warnings;
use utf8;

use EventSource::Server;
use Test::More;

my $LINE = qr/ at \Q${\__FILE__}\E line /;

# What a tap of a new server is given for one call of emit.
sub tapped {
    my @event = @_;
    my @bytes;
    my $es = EventSource::Server->new;
    $es->out_supply->tap(sub { push @bytes, $_[0] });
    ok defined $es->emit(@event), 'emit returns an id';
    return join '|', @bytes;
}

{

    package Text;
    use overload '""' => sub { "text of $_[0][0]" }, fallback => 1;
    sub new { my ($class, $what) = @_; return bless [$what], $class }
}

my $smile = "\x{263A}";

my @FORMS = (
    ['a string'                       => ['one'],                                        "data: one\n\n"],
    ['an empty string'                => [''],                                           "data: \n\n"],
    ['a number'                       => [0],                                            "data: 0\n\n"],
    ['characters'                     => [$smile],                                       "data: \xE2\x98\xBA\n\n"],
    ['a type and its data'            => [tick => 'one'],                                "event: tick\ndata: one\n\n"],
    ['no type and data'               => [undef, 'one'],                                 "data: one\n\n"],
    ['an array of type and data'      => [['tick', 'one']],                              "event: tick\ndata: one\n\n"],
    ['a hash with a type'             => [{type => 'tick', data => 'one'}],              "event: tick\ndata: one\n\n"],
    ['a hash with an event'           => [{event => 'tick', data => 'one'}],             "event: tick\ndata: one\n\n"],
    ['a hash with an undefined type'  => [{type => undef, data => 'one'}],               "data: one\n\n"],
    ['a hash with both, one of them ' => [{type => undef, event => 'e', data => 'one'}], "event: e\ndata: one\n\n"],
    ['all fields'    => [{type => 't', id => 7, retry => 9, data => 'd'}],   "event: t\nid: 7\nretry: 9\ndata: d\n\n"],
    ['a structure'   => [{json => {n => 1}}],                                qq(data: {"n":1}\n\n)],
    ['several lines' => ["a\nb\r\nc\n"],                                     "data: a\ndata: b\ndata: c\ndata: \n\n"],
    ['an array of lines'          => [{data => ['a', 'b']}],                 "data: a\ndata: b\n\n"],
    ['UTF-8'                      => [{data => "\xE2\x98\xBA", bytes => 1}], "data: \xE2\x98\xBA\n\n"],
    ['an object that is a string' => [Text->new('one')],                     "data: text of one\n\n"],
    ['such an object as data'     => [tick => Text->new('one')],             "event: tick\ndata: text of one\n\n"],
    [
        'an event' => [EventSource::Server::Event->new(type => 'foo', data => "a\nb\nc")],
        "event: foo\ndata: a\ndata: b\ndata: c\n\n"
    ],
);

for my $form (@FORMS) {
    my ($name, $event, $bytes) = @$form;
    subtest $name => sub {
        is tapped(@$event), $bytes, 'encoded';
    };
}

subtest 'what is emitted is left as it was' => sub {
    my %event = (type => 'tick', data => 'one');
    tapped(\%event);
    is_deeply \%event, {type => 'tick', data => 'one'}, 'the hash';
};

subtest 'an event by itself' => sub {
    my $event = EventSource::Server::Event->new({type => 'foo', data => "a\nb"});
    is $event->type,   'foo',                              'its type';
    is $event->data,   "a\nb",                             'its data';
    is $event->encode, "event: foo\ndata: a\ndata: b\n\n", 'encoded';
    is(EventSource::Server::Event->new(data => 'x')->type, undef, 'it needs no type');
};

subtest 'what is no event croaks at the line that emits it' => sub {
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
        ok !eval { $es->emit(@$event); 1 }, "$why";
        like $@, qr/$why.*$LINE$line\b/s, 'here';
    }
    is $count, 0, 'and nothing has been sent';
    ok defined $es->emit('fine'), 'what is one is taken afterwards';
    is $count, 1, 'and sent';
};

subtest 'what new is not to be given croaks at its line' => sub {
    for my $case (
        [['supply'] => qr/new takes names and values, or a hash of them/],
        [[colour => 'red']                    => qr/there is no option 'colour'/],
        [[supply => 'lines']                  => qr/supply must be code, an object with tap or next, or a filehandle/],
        [[supply => [1, 2]]                   => qr/supply must be code/],
        [[supply => EventSource::Server->new] => qr/supply must be code/],
        [
            [
                supply => do { open my $file, '<', $0 or die $!; close $file; $file }
            ] => qr/a filehandle that is not open/
        ],
        [[keepalive_interval    => 0]      => qr/keepalive_interval must be a number of seconds above 0/],
        [['keepalive-frequency' => 'x']    => qr/keepalive_interval must be a number of seconds above 0/],
        [[headers               => 'x']    => qr/headers must be an array of names and values/],
        [[headers               => ['x']]  => qr/headers must be an array of names and values/],
        [[native                => 7]      => qr/native must be 'auto', 0 or 1/],
        [[retry                 => 'soon'] => qr/retry must be a whole number of milliseconds/],
        [[start                 => 'soon'] => qr/start must be/],
        [[channel               => '']     => qr/a channel's name must not be empty/],
        [[channel => EventSource::Hub->pattern('*')]                       => qr/a server's channel is a name/],
        [[hub     => 'news', channel => 'c']                               => qr/hub must be an EventSource::Hub/],
        [[on_slow => 'wait']                                               => qr/on_slow/],
        [[hub     => EventSource::Hub->new]                                => qr/a hub has channels; say which/],
        [[hub     => EventSource::Hub->new, channel => 'c', history => {}] => qr/history is the hub's to know/],
    ) {
        my ($options, $why) = @$case;
        my $line = __LINE__ + 1;
        ok !eval { EventSource::Server->new(@$options); 1 }, "$why";
        like $@, qr/$why.*$LINE$line\b/s, 'here';
    }
};

done_testing;

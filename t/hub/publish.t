# What can be published, as what it arrives, and what is refused.

use strict;
use warnings;
use utf8;

use lib 't/lib';
use Testing::Deadline qw(wait_until);
use EventSource::XS;
use Test::More;
BEGIN { plan skip_all => 'there are no hubs on this system' if !EventSource::XS->can('_next_end') }
use EventSource::Hub;
use Testing::Subscriber qw(blocks);
use Tie::Array;
use Tie::Hash;
use Tie::Scalar;

binmode $_, ':encoding(UTF-8)' for map { Test::More->builder->$_ } qw(output failure_output todo_output);

my $hub      = EventSource::Hub->new;
my $epoch    = $hub->epoch;
my $follower = Testing::Subscriber->open($hub, 'a');
my $seen     = 0;                                      # events that were published to it

{

    package Says;
    use overload '""' => sub { $_[0]{asked}++; $_[0]{text} }, bool => sub { 1 }, fallback => 1;
    sub new { my ($class, $text) = @_; return bless {text => $text, asked => 0}, $class }

    package Silent;
    sub new { return bless {}, shift }
}

# What came of the newest event, besides the hub's id.
sub arrives {
    my $id = $hub->publish(a => @_);
    my ($block) = reverse grep { defined $_->{data} } $follower->blocks_at(++$seen);
    return ($id, $block);
}

tie my $scalar, 'Tie::StdScalar', '☺';
tie my @array, 'Tie::StdArray';
@array = ('one', '☺');
tie my %hash, 'Tie::StdHash';
%hash = (event => 'tied', data => '☺');
my $said     = Says->new('☺');
my $wide     = "caf\xE9";
my $upgraded = $wide;
utf8::upgrade($upgraded);
my ($captured) = '-hello-' =~ /-(.*)-/;

my @ARRIVES = (
    ['a string'                        => 'hello',                          {data => 'hello'}],
    ['the empty string'                => '',                               {data => ''}],
    ['0'                               => 0,                                {data => '0'}],
    ['a fraction'                      => 1.5,                              {data => '1.5'}],
    ['characters'                      => '☺',                              {data => "\xE2\x98\xBA"}],
    ['characters below U+0100'         => $wide,                            {data => "caf\xC3\xA9"}],
    ['the same, held otherwise'        => $upgraded,                        {data => "caf\xC3\xA9"}],
    ['lines'                           => "a\nb\r\nc\rd",                   {data => "a\nb\nc\nd"}],
    ['an array'                        => ['a', "b\nc", 5],                 {data => "a\nb\nc\n5"}],
    ['a hash'                          => {event => 'e', data => 'd'},      {event => 'e', data => 'd'}],
    ['an array in it'                  => {data => ['a', 'b']},             {data => "a\nb"}],
    ['a retry'                         => {retry => 5, data => 'd'},        {retry => 5, data => 'd'}],
    ['a comment'                       => {comment => 'c', data => 'd'},    {data => 'd'}],
    ['JSON'                            => {json => {a => [1, '☺']}},        {data => qq({"a":[1,"\xE2\x98\xBA"]})}],
    ['JSON null'                       => {json => undef},                  {data => 'null'}],
    ['bytes'                           => {data => "\xC3\xA9", bytes => 1}, {data => "\xC3\xA9"}],
    ['a key, which is not sent'        => {data => 'd', key => 'k☺'},       {data => 'd'}],
    ['an undefined field, left out'    => {event => undef, data => 'd'},    {data => 'd'}],
    ['an undefined key, which is none' => {key => undef, data => 'd'},      {data => 'd'}],
    ['a tied scalar'                   => \$scalar,                         {data  => "\xE2\x98\xBA"}, 'dereferenced'],
    ['a tied array'                    => \@array,                          {data  => "one\n\xE2\x98\xBA"}],
    ['a tied hash'                     => \%hash,                           {event => 'tied', data => "\xE2\x98\xBA"}],
    ['an object with a string'         => $said,                            {data  => "\xE2\x98\xBA"}],
    ['such objects as fields' => {data => [Says->new('x')], event => Says->new('y')}, {data => 'x', event => 'y'}],
    ['a capture'              => $captured,                                           {data => 'hello'}],
    ['characters that are no Unicode' => "a\x{D800}b",                                {data => "a\xEF\xBF\xBDb"}],
    ['a megabyte'                     => 'x' x 1_048_576,                             {data => 'x' x 1_048_576}],
);

subtest 'what is published arrives' => sub {
    for my $row (@ARRIVES) {
        my ($what, $given, $expected, $deref) = @$row;
        my ($id, $block) = arrives($deref ? $$given : $given);
        is $id,                 "$epoch-" . $hub->stats->{published}, "$what has the next id";
        is delete $block->{id}, $id,                                  'which its client gets';
        is_deeply $block, $expected, 'as it is meant';
    }
    is $said->{asked}, 1, 'an object is asked once';
    is_deeply [map { ref } $hash{data}, $array[0], $scalar], ['', '', ''], 'nothing was changed';
};

my @GIVEN = (
    ['a string'                => 'seven',           'seven'],
    ['a number'                => 7,                 '7'],
    ['characters'              => 'ï☺',              "\xC3\xAF\xE2\x98\xBA"],
    ['an object with a string' => Says->new('said'), 'said'],
    ['a space within'          => 'a b',             'a b'],
);

subtest "an application's own ids" => sub {
    for my $row (@GIVEN) {
        my ($what, $given, $bytes) = @$row;
        my ($id, $block) = arrives({id => $given, data => 'd'});
        is $id,          "$given", "$what is the event's id";
        is $block->{id}, $bytes,   'its only one';
    }
    my ($id, $block) = arrives({id => "\xC3\xA9", data => "\xC3\xA9", bytes => 1});
    is $id,          "\xC3\xA9", 'bytes too';
    is $block->{id}, "\xC3\xA9", 'as they are';
    ($id) = arrives('d');
    is $id, "$epoch-" . $hub->stats->{published}, 'they take a place in the sequence';
};

subtest 'an id that could be ours' => sub {
    my $before = $hub->stats->{published};
    ok !defined eval { $hub->publish(a => {id => "$epoch-1", data => 1}) }, 'is refused';
    like $@, qr/\AEventSource::Hub: id must not begin as the hub's own ids do at \S+publish\.t line /,
        'with the reason';
    is $hub->stats->{published}, $before, 'and nothing is published';
};

my $pattern = EventSource::Hub->pattern('a*');

my @REFUSED = (
    ['no data'               => [a => undef],           'publish takes data, or a hash of fields, not undef'],
    ['no field'              => [a => {}],              'an event needs one of event, id, retry, data, json, comment'],
    ['undefined data'        => [a => {data => undef}], 'an event needs one of'],
    ['a key alone'           => [a => {key => 'k'}],    'an event needs one of'],
    ['an unknown field'      => [a => {dta => 1}],      "unknown field 'dta'"],
    ['a line break in event' => [a => {event => "a\nb", data => 1}],   'event must not contain a line break'],
    ['a line break in id'    => [a => {id => "a\r", data => 1}],       'id must not contain a line break'],
    ['a NUL in id'           => [a => {id => "\0", data => 1}],        'id must not contain'],
    ['an empty id'           => [a => {id => '', data => 1}],          'id must not be empty'],
    ['a long id'             => [a => {id => 'x' x 1_025, data => 1}], 'id must have at most 1024 bytes'],
    ['a retry that is none'  => [a => {retry => 'soon'}],              'retry must be a whole number of milliseconds'],
    ['a retry of more than a day' => [a => {retry => 86_400_001}],     'retry must be at most 86400000 milliseconds'],
    ['a retry of 22 digits'       => [a => {retry => '9' x 22}],       'retry must be at most 86400000 milliseconds'],
    ["the hub's own event"     => [a => {event => 'gap', data => 1}],  "event must not be the name of the hub's event"],
    ['data and json'           => [a => {data => 1, json => 1}],       'data and json exclude each other'],
    ['json and bytes'          => [a => {json => 1, bytes => 1}],      'bytes does not go with it'],
    ['json that is none'       => [a => {json => sub { }}],            'json: '],
    ['bytes that are no UTF-8' => [a => {data => "\xE9", bytes => 1}], 'data must be valid UTF-8'],
    ['bytes that are wide'     => [a => {data => '☺', bytes => 1}],    'holds a character above U\+00FF'],
    ['a reference as data'        => [a => \'x'],                   'data must be a string, not a reference to SCALAR'],
    ['code'                       => [a => sub { }],                'data must be a string, not a reference to CODE'],
    ['an object without a string' => [a => Silent->new],            'data must be a string, not a reference to Silent'],
    ['an array in an array'       => [a => [['x']]],                'each element of data must be a string'],
    ['undef in an array'          => [a => ['x', undef]],           'element 1 of data is undefined'],
    ['a reference as a key'       => [a => {key => [], data => 1}], 'key must be a string, not a reference to ARRAY'],
    ['a long key'                 => [a => {key => '☺' x 342, data => 1}], 'key must have at most 1024 bytes'],
    ['no channel'                 => [undef, 'x'], "a channel's name must be a string that is not empty"],
    ['an empty channel'           => ['', 'x'],    "a channel's name must be a string that is not empty"],
    ['a reference as channel'     => [[], 'x'],    "a channel's name must be a string, not a reference to ARRAY"],
    [
        'a pattern as channel' => [$pattern, 'x'],
        "a channel's name must be a string, not a reference to EventSource::Hub"
    ],
    ['a long channel'                    => ['☺' x 342, 'x'], "a channel's name must have at most 1024 bytes in UTF-8"],
    ['one that is shorter in characters' => ["\xE9" x 513, 'x'], "a channel's name must have at most 1024 bytes"],
    ['too few arguments'                 => ['a'],               'Usage'],
    ['too many'                          => ['a', 'b', 'c'],     'Usage'],
);

for my $way (undef, 'event', 'data') {
    subtest 'what is refused croaks at its line, and nothing is sent; show_channel ' . ($way || 'undef') => sub {
        my $refuses  = EventSource::Hub->new(show_channel => $way);
        my $listener = Testing::Subscriber->open($refuses, 'a', EventSource::Hub->pattern('**'));
        $refuses->epoch;
        for my $row (@REFUSED) {
            my ($what, $given, $message) = @$row;
            $message = 'with show_channel data cannot be bytes'
                if ($way || '') eq 'data' && $what =~ /bytes/;
            my $line = __LINE__ + 1;
            ok !eval { $refuses->publish(@$given); 1 }, "$what is refused";
            like $@, qr/\A(?:EventSource::(?:Hub|XS): .*(?:$message)|Usage: ).* at \S+publish\.t line $line\.?$/,
                'with the reason';
        }
        my $data = ($way || '') eq 'data' ? '{"channel":"a","data":"last"}' : 'last';
        $refuses->publish(a => 'last');
        is_deeply [map { $_->{data} } grep { defined $_->{data} } $listener->blocks_at(1)], [$data], 'and is not sent';
        is $refuses->stats->{published}, 1, 'nor counted';
    };
}

subtest 'a name is its characters' => sub {
    my $names     = EventSource::Hub->new;
    my @names     = ('grün', '☺', "a\nb", "a\0b", ' ', '0', 'news/*', '**', 'x' x 1_024, "\x{D800}");
    my @followers = map { Testing::Subscriber->open($names, $_) } @names;
    is $names->subscribers($_), 1, 'one follows ' . length($_) . ' characters' for @names;
    for my $name (@names) {
        my $held = $name;
        $name =~ /[^\x00-\xFF]/    ? utf8::upgrade($held)
            : utf8::is_utf8($held) ? utf8::downgrade($held)
            :                        utf8::upgrade($held);
        $names->publish($held, "n$_") for 1, 2;
    }
    is_deeply [map { [$_->data(2)] } @followers], [map { ['n1', 'n2'] } @names], 'each got its own, and no others';
    is $names->stats->{channels}, @names, 'there are as many channels';
};

subtest 'a star in a name is a star' => sub {
    my $stars    = EventSource::Hub->new;
    my $literal  = Testing::Subscriber->open($stars, 'news/*');
    my $matching = Testing::Subscriber->open($stars, EventSource::Hub->pattern('news/*'));
    my $crossing = Testing::Subscriber->open($stars, EventSource::Hub->pattern('news/**'));
    $stars->publish($_, $_) for 'news/*', 'news/a', 'news/a/b', 'news', 'other';
    is_deeply [$crossing->data(3)], ['news/*', 'news/a', 'news/a/b'], '** crosses segments';
    is_deeply [$matching->data(2)], ['news/*', 'news/a'],             '* does not';
    is_deeply [$literal->data(1)],  ['news/*'],                       'and a name matches itself';
    is $stars->subscribers('news/a'), 2, 'who matches counts as a subscriber';
    is $stars->subscribers('news/*'), 3, 'as who names it';
};

subtest 'an event is one, however many ways lead to it' => sub {
    my $ways   = EventSource::Hub->new;
    my $follow = Testing::Subscriber->open(
        $ways, 'n/a', 'n/a',
        EventSource::Hub->pattern('n/*'),
        EventSource::Hub->pattern('**')
    );
    $ways->publish('n/a', $_) for 1 .. 3;
    $ways->publish('end', 'end');
    is_deeply [$follow->data(4)], [1 .. 3, 'end'], 'each came once';
    is $ways->stats->{delivered}, 4, 'and counts once';
    is $ways->subscribers('n/a'), 1, 'as who follows does';
    my $other = Testing::Subscriber->open($ways, EventSource::Hub->pattern('n/**'));
    is $ways->subscribers('n/a'), 2, 'with others';
    is $ways->subscribers('n/b'), 2, 'also of a channel that is not there';
    $follow->client->leave;
    ok wait_until(10, sub { $ways->subscribers('n/a') == 1 }), 'and who has left does not';
};

subtest 'show_channel' => sub {
    my $label = EventSource::Hub->new(show_channel => 'event');
    my $reads = Testing::Subscriber->open($label, 'größe', 'plain');
    $label->publish('größe',            'x');
    $label->publish('größe',            {data  => "\xC3\xA9", bytes => 1});
    $label->publish('größe',            {event => 'own',      data  => 'x'});
    $label->publish(Says->new('plain'), ['a', 'b']);
    my @blocks = map { delete $_->{id}; $_ } grep { defined $_->{data} } $reads->blocks_at(4);
    is_deeply \@blocks,
        [
        {event => "gr\xC3\xB6\xC3\x9Fe", data => 'x'},
        {event => "gr\xC3\xB6\xC3\x9Fe", data => "\xC3\xA9"},
        {event => 'own',                 data => 'x'},
        {event => 'plain',               data => "a\nb"},
        ],
        'as the type of the event, unless it has one';
    ok !eval { $label->publish("a\nb", 'x') }, 'a name that cannot be a type';
    like $@, qr/event must not contain a line break/, 'croaks';

    $label = EventSource::Hub->new(show_channel => 'data');
    $reads = Testing::Subscriber->open($label, 'größe');
    my @given = (
        'x', 5,
        ['a', 'b'],
        {data => ['a', 'b']},
        {json => [1]},
        {json => undef},
        Says->new('é'), {event => 'e', data => "a\nb"}
    );
    $label->publish('größe', $_) for @given;
    my @data = map { s/\A\{"channel":"gr\xC3\xB6\xC3\x9Fe","data":(.*)\}\z/$1/r } $reads->data(@given + 0);
    is_deeply \@data, ['"x"', '"5"', '"a\nb"', '"a\nb"', '[1]', 'null', qq("\xC3\xA9"), '"a\nb"'],
        'in the data, as JSON';
    my $event = {data => 'x', json => undef};
    delete $event->{json};
    my %before = %$event;
    $label->publish('größe', $event);
    is_deeply $event, \%before, 'the hash is not changed';
};

subtest 'a forged gap and a reconnection time' => sub {
    for my $row (['gap', undef], ['größe', 'größe'], ["\xE9", "\xE9"], ['☺', '☺']) {
        my ($name, $setting) = @$row;
        my $own = EventSource::Hub->new(defined $setting ? (gap_event => $setting) : ());
        my ($bytes, $up) = ($name, $name);
        utf8::encode($bytes);
        utf8::upgrade($up);
        for my $event ({event => $name}, {event => $up}, {event => $bytes, bytes => 1}) {
            ok !defined eval { $own->publish(a => {%$event, data => 1}) }, "an event named $name is refused";
            like $@, qr/: event must not be the name of the hub's event for gaps: choose another, or set gap_event at /,
                'with the remedy';
        }
        ok $own->publish(a => {event => $_, data => 1}), 'other names are taken' for "${name}s", "\u$name ", 'x', '';
        ok $own->publish(a => {event => 'gap', data => 1}), 'gap too, where it is no gap' if $name ne 'gap';
    }
    my $label = EventSource::Hub->new(show_channel => 'event');
    ok !defined eval { $label->publish(gap => 'x') }, 'nor can a channel be labelled so';
    ok $hub->publish(a => {retry => $_}),             "a retry of $_" for 0, 86_400_000, '00', '0' x 30 . 86_400_000;
    ok !defined eval { $hub->publish(a => {retry => '0' x 30 . 86_400_001}) }, 'zeros make a number no smaller';
};

subtest 'what an argument does while it is read harms nobody' => sub {
    my $hostile = EventSource::Hub->new;
    my $reads   = Testing::Subscriber->open($hostile, 'a');
    my %h       = (data => join '-', 'prey', 1 .. 50);
    my $spoil   = sub {
        delete $h{data};
        my @others = map { "spoilt $_" x 20 } 1 .. 200;
        return;
    };

    package Saboteur {
        use overload '""' => sub { $_[0]{act}->(); $_[0]{text} };
        sub new { my ($class, $text, $act) = @_; return bless {text => $text, act => $act}, $class }
    }
    $hostile->publish(Saboteur->new('a', $spoil), $h{data});
    $h{data} = 'prey';
    $hostile->publish(a => {data => $h{data}, key => Saboteur->new('k', $spoil)});
    my %hubs  = (hub => $hostile);
    my $dying = Saboteur->new('a', sub { die "no\n" });
    ok !eval { $hostile->publish($dying, 'x') } && $@ eq "no\n", 'what dies dies';
    my $drops = Saboteur->new('a', sub { delete $hubs{hub}; $spoil->() });
    undef $hostile;
    ok $hubs{hub}->publish($drops, 'last'), 'a hub that goes while it publishes lives for that';
    is_deeply [$reads->data(3)], [join('-', 'prey', 1 .. 50), 'prey', 'last'], 'all arrived as they were';
    ok $reads->client->read_all, 'and the stream ends with its hub';

    $hubs{hub} = EventSource::Hub->new;
    is $hubs{hub}->subscribers($drops), 0, 'one that goes while it is asked lives for that';

    for my $thing (undef, 1, 'EventSource::Hub', [], {}, bless({}, 'EventSource::Hub'), \1, qr/x/, $pattern) {
        for my $method (qw(publish stats epoch subscribers _drain)) {
            ok !eval {
                EventSource::Hub->can($method)
                    ->($thing, $method eq 'publish' ? ('a', 'x') : $method =~ /_drain|subsc/ ? 1 : ());
                1;
            }, "$method of what is no hub";
            like $@, qr/\AEventSource::Hub: this is no hub/, 'says so';
        }
    }
};

subtest 'a burst arrives in its order, once' => sub {
    my $burst   = EventSource::Hub->new(history => {events => 100_000, bytes => 1e9});
    my @readers = map { Testing::Subscriber->open($burst, 'a', 'b') } 1 .. 5;
    my @ids     = map { $burst->publish($_ % 3 ? 'a' : 'b', $_) } 1 .. 5_000;
    is_deeply [map { $_->{id} } grep { defined $_->{data} } $_->blocks_at(5_000)], \@ids, 'for each' for @readers;
};

done_testing;

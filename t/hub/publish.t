# EventSource::Hub->publish: accepted values and how they arrive, and refused ones.

use lib 't/lib';
use Testing         qw(native);
use Testing::Errors qw(error_ok);
use EventSource::Hub;
use Testing::NamedHubs;
use Testing::Subscriber qw(blocks);
use Tie::Array;
use Tie::Hash;
use Tie::Scalar;

my $hub        = EventSource::Hub->new;
my $epoch      = $hub->epoch;
my $subscriber = Testing::Subscriber->open($hub, 'a');
my $seen       = 0;                                      # events that the subscriber has received

package Says {
    use overload '""' => sub { $_[0]{asked}++; $_[0]{text} }, bool => sub { 1 }, fallback => 1;
    sub new { my ($class, $text) = @_; return bless {text => $text, asked => 0}, $class }

    package Silent;
    sub new { return bless {}, shift }
}

# Publishes an event; returns its id, and the block that arrives.
sub arrives {
    my $id = $hub->publish(a => @_);
    my ($block) = reverse grep { defined $_->{data} } $subscriber->blocks_at(++$seen);
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
    ['characters that are not Unicode' => "a\x{D800}b",                               {data => "a\xEF\xBF\xBDb"}],
    ['a megabyte'                      => 'x' x 1_048_576,                            {data => 'x' x 1_048_576}],
);

subtest 'a published event arrives' => sub {
    for my $row (@ARRIVES) {
        my ($what, $given, $expected, $deref) = @$row;
        my ($id, $block) = arrives($deref ? $$given : $given);
        is $id,                 "$epoch-" . $hub->stats->{published}, "$what: publish returns the next id";
        is delete $block->{id}, $id,                                  "$what: the client receives the id";
        is_deeply $block, $expected, "$what: the client receives the fields";
    }
    is $said->{asked}, 1, "an object's string is asked for once";
    is_deeply [map { ref } $hash{data}, $array[0], $scalar], ['', '', ''], 'tied values are not changed';
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
        is $id,          "$given", "$what: publish returns the id of the application";
        is $block->{id}, $bytes,   "$what: the client receives the id of the application";
    }
    my ($id, $block) = arrives({id => "\xC3\xA9", data => "\xC3\xA9", bytes => 1});
    is $id,          "\xC3\xA9", 'publish returns an id of bytes';
    is $block->{id}, "\xC3\xA9", 'the client receives an id of bytes unchanged';
    ($id) = arrives('d');
    is $id, "$epoch-" . $hub->stats->{published}, 'an event with an id of the application has a number in the sequence';
};

subtest "an id that begins as the hub's own ids do" => sub {
    my $before = $hub->stats->{published};
    ok !defined eval { $hub->publish(a => {id => "$epoch-1", data => 1}) }, 'such an id throws';
    like $@, qr/\AEventSource::Hub: id must not begin as the hub's own ids do at [^\n]*publish\.t line /,
        "the error of such an id names the reason and the caller's line";
    is $hub->stats->{published}, $before, 'nothing is published with such an id';
};

my $pattern = EventSource::Hub->pattern('a*');

my @REFUSED = (
    ['no data'  => [a => undef], 'publish takes data, or a hash of fields, not undef'],
    ['no field' => [a => {}],    'an event needs one of event, id, retry, data, json, comment; undef leaves one out'],
    ['undefined data'        => [a => {data => undef}],                'an event needs one of'],
    ['a key alone'           => [a => {key => 'k'}],                   'an event needs one of'],
    ['an unknown field'      => [a => {dta => 1}],                     "unknown field 'dta'"],
    ['a line break in event' => [a => {event => "a\nb", data => 1}],   'event must not contain a line break'],
    ['a line break in id'    => [a => {id => "a\r", data => 1}],       'id must not contain a line break'],
    ['a NUL in id'           => [a => {id => "\0", data => 1}],        'id must not contain'],
    ['an empty id'           => [a => {id => '', data => 1}],          'id must not be empty'],
    ['a long id'             => [a => {id => 'x' x 1_025, data => 1}], 'id must have at most 1024 bytes'],
    ['a retry that is none'  => [a => {retry => 'soon'}],              'retry must be a whole number of milliseconds'],
    ['a retry of more than a day' => [a => {retry => 86_400_001}],     'retry must be at most 86400000 milliseconds'],
    ['a retry of 22 digits'       => [a => {retry => '9' x 22}],       'retry must be at most 86400000 milliseconds'],
    ["the hub's own event"      => [a => {event => 'gap', data => 1}], "event must not be the name of the hub's event"],
    ['data and json'            => [a => {data => 1, json => 1}],      'data and json exclude each other'],
    ['json and bytes'           => [a => {json => 1, bytes => 1}],     'bytes does not go with it'],
    ['json that is none'        => [a => {json => sub { }}],           'json: '],
    ['bytes that are not UTF-8' => [a => {data => "\xE9", bytes => 1}], 'data must be valid UTF-8'],
    ['bytes that are wide'      => [a => {data => '☺', bytes => 1}],    'holds a character above U\+00FF'],
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
        "a channel's name must be a string, not a reference to EventSource::XS::Hub::Pattern"
    ],
    ['a long channel'                    => ['☺' x 342, 'x'], "a channel's name must have at most 1024 bytes in UTF-8"],
    ['one that is shorter in characters' => ["\xE9" x 513, 'x'], "a channel's name must have at most 1024 bytes"],
    ['too few arguments'                 => ['a'],               'usage: \$hub->publish\(\$channel, \$event\)'],
    ['options that are not a hash'       => ['a', 'b', 'c'],     'publish takes its options as a hash'],
    ['too many'                          => ['a', 'b', {}, 'c'], 'usage: \$hub->publish\(\$channel, \$event\)'],
);

for my $way (undef, 'event', 'data') {
    subtest 'publish refuses wrong arguments, with show_channel ' . ($way || 'undef') => sub {
        my $refuses  = EventSource::Hub->new(show_channel => $way);
        my $listener = Testing::Subscriber->open($refuses, 'a', EventSource::Hub->pattern('**'));
        $refuses->epoch;
        for my $row (@REFUSED) {
            my ($what, $given, $message) = @$row;
            my $line = __LINE__ + 1;
            ok !eval { $refuses->publish(@$given); 1 }, "$what throws";
            like $@, qr/\A(?:EventSource::(?:Hub|XS): .*(?:$message)).* at [^\n]*publish\.t line $line\.?$/,
                "$what: the error names the reason and the caller's line";
        }
        my $data = ($way || '') eq 'data' ? '{"channel":"a","data":"last"}' : 'last';
        $refuses->publish(a => 'last');
        is_deeply [map { $_->{data} } grep { defined $_->{data} } $listener->blocks_at(1)], [$data],
            'no refused event arrives';
        is $refuses->stats->{published}, 1, 'no refused event is counted';
    };
}

subtest 'channels are told apart by their characters' => sub {
    my $names       = EventSource::Hub->new;
    my @names       = ('grün', '☺', "a\nb", "a\0b", ' ', '0', 'news/*', '**', 'x' x 1_024);
    my @subscribers = map { Testing::Subscriber->open($names, $_) } @names;
    is $names->subscribers($_), 1, 'a channel of ' . length($_) . ' characters has one subscriber' for @names;
    for my $name (@names) {
        my $held = $name;
        $name =~ /[^\x00-\xFF]/    ? utf8::upgrade($held)
            : utf8::is_utf8($held) ? utf8::downgrade($held)
            :                        utf8::upgrade($held);
        $names->publish($held, "n$_") for 1, 2;
    }
    is_deeply [map { [$_->data(2)] } @subscribers], [map { ['n1', 'n2'] } @names],
        'each subscriber receives the events of its own channel';
    is $names->stats->{channels}, @names, 'the hub counts one channel per name';
    my $object = Says->new('object');
    Testing::Subscriber->open($names, $object);
    is $object->{asked}, 1, 'subscribe asks for the string of an object once';
};

subtest 'a star matches in a pattern only' => sub {
    my $stars    = EventSource::Hub->new;
    my $literal  = Testing::Subscriber->open($stars, 'news/*');
    my $matching = Testing::Subscriber->open($stars, EventSource::Hub->pattern('news/*'));
    my $crossing = Testing::Subscriber->open($stars, EventSource::Hub->pattern('news/**'));
    $stars->publish($_, $_) for 'news/*', 'news/a', 'news/a/b', 'news', 'other';
    is_deeply [$crossing->data(3)], ['news/*', 'news/a', 'news/a/b'], '** matches across slashes';
    is_deeply [$matching->data(2)], ['news/*', 'news/a'],             '* does not match across slashes';
    is_deeply [$literal->data(1)],  ['news/*'],                       'a name with a star matches itself only';
    is $stars->subscribers('news/a'), 2, 'subscribers counts streams with a matching pattern';
    is $stars->subscribers('news/*'), 3, 'subscribers counts streams with the name and with patterns';
};

subtest 'a stream that is subscribed by several topics receives an event once' => sub {
    my $ways   = EventSource::Hub->new;
    my $follow = Testing::Subscriber->open(
        $ways, 'n/a', 'n/a',
        EventSource::Hub->pattern('n/*'),
        EventSource::Hub->pattern('**')
    );
    $ways->publish('n/a', $_) for 1 .. 3;
    $ways->publish('end', 'end');
    is_deeply [$follow->data(4)], [1 .. 3, 'end'], 'each event arrives once';
    is $ways->stats->{delivered}, 4, 'each event counts as delivered once';
    is $ways->subscribers('n/a'), 1, 'subscribers counts such a stream once';
    my $other = Testing::Subscriber->open($ways, EventSource::Hub->pattern('n/**'));
    is $ways->subscribers('n/a'), 2, 'subscribers counts a second stream';
    is $ways->subscribers('n/b'), 2, 'subscribers counts the patterns that match a channel without events';
    $follow->client->leave;
    ok wait_until(10, sub { $ways->subscribers('n/a') == 1 }),
        'subscribers does not count a stream whose client has left';
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
        'show_channel event makes the channel the type of events without one';
    error_ok('show_channel event, a line break', invalid => 'channel', sub { $label->publish("a\nb", 'x') });
    like $@, qr/a channel's name must not contain a line break: it is the type of its events/, 'with the reason';
    error_ok 'the same of a will',
        invalid => 'channel',
        sub { Testing::Subscriber->open($label, 'a', {will => ["\0", 'x']}) };

    $label = EventSource::Hub->new(show_channel => 'data');
    $reads = Testing::Subscriber->open($label, 'größe');
    my @given = (
        'x', 5,
        ['a', 'b'],
        {data => ['a', 'b']},
        {json => [1]},
        {json => undef},
        Says->new('é'),
        {event => 'e',        data  => "a\nb"},
        {data  => "\xC3\xA9", bytes => 1},
        {data  => qq(\x01\t"\\)}
    );
    $label->publish('größe', $_) for @given;
    my @data = map { s/\A\{"channel":"gr\xC3\xB6\xC3\x9Fe","data":(.*)\}\z/$1/r } $reads->data(@given + 0);
    is_deeply \@data,
        ['"x"', '"5"', '"a\nb"', '"a\nb"', '[1]', 'null', qq("\xC3\xA9"), '"a\nb"', qq("\xC3\xA9"), '"\u0001\t\"\\\\"'],
        'show_channel data encodes channel and data as JSON';
    my $event = {data => 'x', json => undef};
    delete $event->{json};
    my %before = %$event;
    $label->publish('größe', $event);
    is_deeply $event, \%before, "show_channel data does not change the caller's hash";
};

subtest 'publish refuses the type of gaps and a long retry' => sub {
    for my $row (['gap', undef], ['größe', 'größe'], ["\xE9", "\xE9"], ['☺', '☺']) {
        my ($name, $setting) = @$row;
        my $own = EventSource::Hub->new(defined $setting ? (gap_event => $setting) : ());
        my ($bytes, $up) = ($name, $name);
        utf8::encode($bytes);
        utf8::upgrade($up);
        for my $event ({event => $name}, {event => $up}, {event => $bytes, bytes => 1}) {
            ok !defined eval { $own->publish(a => {%$event, data => 1}) }, "an event named $name is refused";
            like $@, qr/: event must not be the name of the hub's event for gaps: choose another, or set gap_event at /,
                'the error of such an event names the remedy';
        }
        ok $own->publish(a => {event => $_, data => 1}), 'another type is accepted' for "${name}s", "\u$name ", 'x', '';
        ok $own->publish(a => {event => 'gap', data => 1}), 'the type gap is accepted if gap_event is another'
            if $name ne 'gap';
    }
    my $label = EventSource::Hub->new(show_channel => 'event');
    ok !defined eval { $label->publish(gap => 'x') }, 'show_channel event refuses a channel with the type of gaps';
    ok $hub->publish(a => {retry => $_}), "a retry of $_ is accepted" for 0, 86_400_000, '00', '0' x 30 . 86_400_000;
    ok !defined eval { $hub->publish(a => {retry => '0' x 30 . 86_400_001}) },
        'a retry above a day is refused despite leading zeros';
};

subtest 'code that runs while arguments are read does no harm' => sub {
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
    ok !eval { $hostile->publish($dying, 'x') } && $@ eq "no\n", 'publish rethrows the exception of an argument';
    my $drops = Saboteur->new('a', sub { delete $hubs{hub}; $spoil->() });
    undef $hostile;
    ok $hubs{hub}->publish($drops, 'last'), 'a hub that is released by an argument of publish still publishes';
    is_deeply [$reads->data(3)], [join('-', 'prey', 1 .. 50), 'prey', 'last'],
        'arguments that change others while they are read arrive unchanged';
    ok $reads->client->read_all, 'the stream ends when its hub is destroyed' if !Testing::NamedHubs->is_on;

    $hubs{hub} = EventSource::Hub->new;
    is $hubs{hub}->subscribers($drops), 0, 'a hub that is released by an argument of subscribers still answers';

    for my $thing (undef, 1, 'EventSource::Hub', [], {}, bless({}, 'EventSource::Hub'), \1, qr/x/, $pattern) {
        for my $call ([publish => 'a', 'x'], [_call => 'epoch']) {
            my ($method, @arguments) = @$call;
            ok !eval { EventSource::Hub->can($method)->($thing, @arguments); 1 }, "$method throws without a hub";
            like $@, qr/\AEventSource::Hub: this is not a hub/, 'the error of a call without a hub says so';
        }
    }
};

subtest 'a burst of 5,000 events arrives in order' => sub {
    my $burst   = EventSource::Hub->new(keep_history => {events => 100_000, bytes => 1e9});
    my @readers = map { Testing::Subscriber->open($burst, 'a', 'b') } 1 .. 5;
    my @ids     = map { $burst->publish($_ % 3 ? 'a' : 'b', $_) } 1 .. 5_000;
    is_deeply [map { $_->{id} } grep { defined $_->{data} } $_->blocks_at(5_000)], \@ids,
        'a subscriber receives every event of the burst once in order'
        for @readers;
};

done_testing;

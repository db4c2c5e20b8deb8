# POST: the event that is published, and the response.

use lib 't/lib';
use Testing;
use EventSource::Error;
use EventSource::Hub;
use JSON::MaybeXS qw(decode_json);
use Plack::App::EventSource::PubSub;
use Testing::RecordingHub qw(answer);

my $hub = Testing::RecordingHub->new;

sub pubsub {
    return Plack::App::EventSource::PubSub->new(hub => $hub, authorize => sub { 1 }, @_)->to_app;
}

my $app = pubsub();

sub post {
    my ($type, $content, %option) = @_;
    my @headers = (@{$option{headers} || []}, defined $type ? ('Content-Type' => $type) : ());
    return answer($option{app} || $app, POST => '/news', %option, headers => \@headers, content => $content);
}

# The event that a POST has published; without one, the status and the reason.
sub published {
    my $response = post(@_);
    my @events   = map { $_->[1] } $hub->published;
    $_->{json} = $_->{json}->text for grep { exists $_->{json} } @events;
    return @events ? $events[0] : $response->code . ' ' . $response->content =~ s/\n\z//r;
}

subtest 'noncharacters of a client cause no warnings' => sub {
    my @warnings;
    local $SIG{__WARN__} = sub { push @warnings, @_ };
    for my $text ('{"data":"\uFFFF"}', '{"json":"\uFDD0"}', "{\"data\":\"\xEF\xBF\xBF\"}") {
        is ref published('application/json', $text), 'HASH', 'an event with a noncharacter is published';
    }
    is_deeply \@warnings, [], 'there are no warnings';
};

subtest 'the response to a POST' => sub {
    my $response = post('text/plain', 'hello');
    is $response->code,         200,                'the status of a published POST is 200';
    is $response->content_type, 'application/json', 'the response is JSON';
    is_deeply decode_json($response->content), {id => 'epoch-1'}, 'the response has the id of the event';
    is $response->header('Cache-Control'),  'no-store',                'the response must not be stored';
    is $response->header('Content-Length'), length $response->content, 'the response has its length';
    is_deeply [$hub->published], [['news', {data => 'hello'}]], 'the event is published to the node';
    $response = post('application/json', '{"id":"größe☺","data":"x"}' =~ s/größe☺/gr\xC3\xB6\xC3\x9Fe\xE2\x98\xBA/r);
    is_deeply decode_json($response->content), {id => 'größe☺'}, 'the response has the id of the client';
    $hub->published;
};

subtest 'a body of any other type is the data' => sub {
    for my $type (
        undef,                        '',
        'text/plain',                 'text/plain; charset=utf-8',
        'TEXT/PLAIN;CHARSET="UTF-8"', 'text/xml; charset=us-ascii',
        'application/xml',            'application/atom+xml',
        'application/ld+json',        'application/octet-stream',
        'application/jsonp'
    ) {
        is_deeply published($type, "<a>\r\ngr\xC3\xB6\xC3\x9Fe</a>\n"), {data => "<a>\r\ngröße</a>\n"},
            'of type ' . ($type // 'none');
    }
    is_deeply published('text/plain', ''),           {data => ''},           'an empty body is empty data';
    is_deeply published('text/plain', "a\0b"),       {data => "a\0b"},       'a body with NUL is data';
    is_deeply published('text/plain', 'a=b&c=%41+'), {data => 'a=b&c=%41+'}, 'a body like a form is data';
    is published('text/plain', $_->[1]), '400 The body is not UTF-8', "400: $_->[0]"
        for ['Latin 1', "gr\xF6\xDFe"], ['a surrogate', "\xED\xA0\x80"], ['cut', "a\xE2\x98"];
};

subtest 'kinds of bodies that are refused' => sub {
    is published('multipart/form-data; boundary=x', "--x--\r\n"), '415 A body of several parts is not read',
        'several parts';
    is published('text/plain; charset=iso-8859-1', 'x'), '415 A body in another encoding than UTF-8 is not read',
        'another encoding';
    is published('text/plain', 'x', headers => ['Content-Encoding' => 'gzip']),
        '415 A body that is compressed is not read',
        'compressed';
    is_deeply published('text/plain', 'x', headers => ['Content-Encoding' => 'identity']), {data => 'x'},
        'the encoding identity is accepted';
};

subtest 'a form' => sub {
    my $form = 'application/x-www-form-urlencoded';
    for my $case (
        ['data=hello',           {data => ['hello']},   'data'],
        ['data=a+b%26c%3D%2B',   {data => ['a b&c=+']}, 'escaped'],
        ['data=gr%C3%B6%C3%9Fe', {data => ['größe']},   'in UTF-8'],
        ['data=%2541',           {data => ['%41']},     'decoded once'],
        ['data=100%',            {data => ['100%']},    'a percent sign that escapes nothing'],
        ['data=a&data=b',        {data => ['a', 'b']},  'two lines'],
        ['data=',                {data => ['']},        'an empty line'],
        ['data',                 {data => ['']},        'without its sign'],
        ['data=a%0D%0Ab',        {data => ["a\r\nb"]},  'a line break of a textarea'],
        [
            'event=tick&id=7&retry=5&data=x&comment=c',
            {event => 'tick', id => 7, retry => 5, data => ['x'], comment => 'c'},
            'all fields'
        ],
        ['event=&id=&retry=&data=x', {data => ['x']},                           'fields that are left empty'],
        ['&data=x&',                 {data => ['x']},                           'with superfluous signs'],
        ['%64ata=x',                 {data => ['x']},                           'an escaped name'],
        ['event=a%0Ab&data=x',       '400 event must not contain a line break', 'a line break in event'],
        ['id=a%00b&data=x',          '400 id must not contain NUL',             'NUL in id'],
        [
            'retry=soon&data=x',
            '400 retry must be a whole number of milliseconds, in ASCII digits',
            'retry that is not a number'
        ],
        ['event=a&event=b', q(400 There is no such field 'event' in a form), 'a field twice'],
        ['json={}',         q(400 There is no such field 'json' in a form),  'json'],
        ['musing=x',        q(400 There is no field 'musing'),               'a field that is none'],
        ['other=&data=x',   q(400 There is no field 'other'),                'one that is empty'],
        ['hello',           q(400 There is no field 'hello'),                'no form at all'],
        ['bytes=1&data=x',  q(400 There is no field 'bytes'),                'an option that is not a field'],
        ["data=\xFF",       '400 The form is not UTF-8',                     'no UTF-8'],
        ['data=%FF',        '400 The form is not UTF-8',                     'no UTF-8 when decoded'],
        ['%FF=x',           '400 The form is not UTF-8',                     'a name that is not UTF-8 when decoded'],
    ) {
        my ($body, $event, $what) = @$case;
        is_deeply published($form, $body), $event, "$what: $body";
    }
    like published($form, ''), qr/\A400 /, 'an empty one: 400';
    is_deeply published("$form; charset=UTF-8", 'data=x'), {data => ['x']}, 'a form with a charset is accepted';
};

subtest 'an event in JSON' => sub {
    my $json = 'application/json';
    for my $case (
        ['{"data":"hello"}',    {data => 'hello'},        'data'],
        ['{"data":"a\nb"}',     {data => "a\nb"},         'two lines'],
        ['{"data":""}',         {data => ''},             'empty data'],
        ['{"data":"7"}',        {data => '7'},            'digits'],
        ['{"data":1.10}',       {data => '1.10'},         'a number'],
        ['{"data":7}',          {data => '7'},            'an integer'],
        ['{"id":7,"data":"x"}', {id   => 7, data => 'x'}, 'an id may be one'],
        [
            '{"id": 123456789012345678901 ,"data":1.00000000000000000001}',
            {id => '123456789012345678901', data => '1.00000000000000000001'},
            'long numbers'
        ],
        [
            '{"event":"tick","id":"7","retry":5,"data":"x","comment":"c"}',
            {event => 'tick', id => 7, retry => 5, data => 'x', comment => 'c'},
            'all fields'
        ],
        ['{"json":{"a":[1,"b",null]}}', {json => '{"a":[1,"b",null]}'}, 'a structure'],
        ['{"json":null}',               {json => 'null'},               'null is a structure'],
        ['{"json":"text"}',             {json => '"text"'},             'a string is a structure'],
        [
            '{"data":null,"\u006ason": {"b" : [12345678901234567890, 1.10, "\"}"], "json": 2} }',
            {json => '{"b" : [12345678901234567890, 1.10, "\"}"], "json": 2}'},
            'long numbers, and a name with an escape'
        ],
        ['{"event":null,"data":"x"}',    {data => 'x'},                             'a field that is null is none'],
        [' {"data":"gr\u00f6\u00dfe"} ', {data => 'größe'},                         'escaped letters'],
        ["{\"data\":\"gr\xC3\xB6\"}",    {data => 'grö'},                           'letters in UTF-8'],
        ['{"event":"a\nb","data":"x"}',  '400 event must not contain a line break', 'a line break in event'],
        ['{"id":"a\u0000","data":"x"}',  '400 id must not contain NUL',             'NUL in id'],
        [
            '{"retry":-1,"data":"x"}',
            '400 retry must be a whole number of milliseconds, in ASCII digits',
            'retry below 0'
        ],
        ['{"data":["a"]}',              '400 data must be a string',             'an array of data'],
        ['{"data":{}}',                 '400 data must be a string',             'an object of data'],
        ['{"data":true}',               '400 data must be a string',             'data that is true'],
        ['{"event":false,"data":"x"}',  '400 event must be a string',            'event that is false'],
        ['{"bytes":1,"data":"x"}',      q(400 There is no field 'bytes'),        'an option that is not a field'],
        ['{"musing":"x"}',              q(400 There is no field 'musing'),       'a field that is none'],
        ['[]',                          '400 The body is not an object in JSON', 'an array'],
        ['"text"',                      '400 The body is not an object in JSON', 'a string'],
        ['null',                        '400 The body is not an object in JSON', 'null'],
        ['{"data":"x"',                 '400 The body is not an object in JSON', 'cut'],
        ['{"data":"x"} {}',             '400 The body is not an object in JSON', 'two'],
        ["{\"data\":\"\xFF\"}",         '400 The body is not an object in JSON', 'no UTF-8'],
        ["{\"data\":\"\xED\xA0\x80\"}", '400 The body is not an object in JSON', 'half a character'],
        ["{\"json\":\"\xED\xA0\x80\"}", '400 The body is not an object in JSON', 'half of one in a structure'],
        ['[' x 100_000,                 '400 The body is not an object in JSON', 'too deep', 200_000],
        ['',                            '400 The body is not an object in JSON', 'nothing'],
    ) {
        my ($body, $event, $what, $max_body) = @$case;
        my @app = $max_body ? (app => pubsub(max_body => $max_body)) : ();
        is_deeply published($json, $body, @app), $event, $what;
    }
    like published($json, $_->[0]), qr/\A400 \S.*[^.0-9]\z/, "400: $_->[1]"
        for ['{}', 'no field'], ['{"id":null}', 'none that counts'], ['{"data":"x","json":{}}', 'data and json'];
    is_deeply published('Application/JSON; charset=utf-8', '{"data":"x"}'), {data => 'x'},
        'the type counts in any case of letters';
};

subtest 'the response to a refused POST' => sub {
    my $response = post('application/json', qq({"<b>\xE2\x98\xBA":1}));
    is $response->content_type,                     'text/plain',                            'a refusal is plain text';
    is $response->header('X-Content-Type-Options'), 'nosniff',                               'a refusal has nosniff';
    is $response->content,                          "There is no field '<b>\xE2\x98\xBA'\n", 'a refusal is in UTF-8';
};

subtest 'max_body' => sub {
    is_deeply published('text/plain', 'x' x 65_536), {data => 'x' x 65_536},
        'a body of 65,536 bytes is published by default';
    is published('text/plain', 'x' x 65_537), '413 The body is longer than 65536 bytes',
        'a body of 65,537 bytes is a 413 by default';
    my $small = pubsub(max_body => 4);
    is_deeply published('text/plain', "\xC3\xB6\xC3\xB6", app => $small), {data => 'öö'},
        'a body of max_body bytes is published';
    is published('text/plain', "\xC3\xB6\xC3\xB6x", app => $small), '413 The body is longer than 4 bytes',
        'max_body counts bytes';
    is published('application/json', '{"data":"x"}', app => $small), '413 The body is longer than 4 bytes',
        'max_body bounds JSON';
};

# A psgi.input that returns a few bytes at a time, and counts the bytes that were read.
package Dripping {
    sub new  { my ($class, $text, $drip) = @_; return bless {text => $text, drip => $drip, given => 0}, $class }
    sub seek { return 1 }

    sub read {
        my ($self, undef, $wanted, $offset) = @_;
        die "offset\n" if ($offset // 0) != length($_[1] // '');
        $_[1] = ''     if !defined $_[1];                          # as perl's read does
        return undef   if $self->{text} eq 'broken';
        my $some = substr $self->{text}, 0, $wanted < $self->{drip} ? $wanted : $self->{drip}, '';
        $_[1] .= $some;
        $self->{given} += length $some;
        return length $some;
    }
}

subtest 'how a body arrives' => sub {
    my $of = sub {
        my ($input, %env) = @_;
        return published('text/plain', undef, env => {CONTENT_LENGTH => undef, 'psgi.input' => $input, %env});
    };
    is_deeply $of->(Dripping->new('hello', 2), CONTENT_LENGTH => 5), {data => 'hello'},
        'a body that arrives in pieces is published';
    is_deeply $of->(Dripping->new('hello more', 3), CONTENT_LENGTH => 5), {data => 'hello'},
        'no more than Content-Length is read';
    is $of->(Dripping->new('hel', 2), CONTENT_LENGTH => 5), '400 The body cannot be read',
        'shorter than its length: 400';
    is $of->(Dripping->new('broken', 2), CONTENT_LENGTH => 5), '400 The body cannot be read', 'a read that fails: 400';

    my $long = Dripping->new('x' x 1_000_000, 1000);
    is $of->($long, CONTENT_LENGTH => 1_000_000), '413 The body is longer than 65536 bytes',
        'a Content-Length above max_body is a 413';
    is $long->{given}, 0, 'a body above max_body is not read';
    is $of->(Dripping->new('hello', 2), HTTP_TRANSFER_ENCODING => 'chunked'),
        '411 Content-Length is required', 'chunked, on a server that does not decode it: 411';
    is_deeply $of->(Dripping->new('hello', 2), HTTP_TRANSFER_ENCODING => 'chunked', CONTENT_LENGTH => 5),
        {data => 'hello'}, 'chunked, with the length of a server that decodes it';
    my $none = Dripping->new('hello', 2);
    is_deeply $of->($none), {data => ''}, 'a request without a length has an empty body';
    is_deeply $of->($none, CONTENT_LENGTH => ''), {data => ''}, 'a request with an empty length has an empty body';
    is_deeply $of->($none, 'psgix.input.buffered' => 1), {data => ''},
        'a request without a length has an empty body though input is buffered';
    is $none->{given}, 0, 'a body without a length is not read';
};

subtest 'an event that the hub refuses is a 400' => sub {
    Testing->need('native');
    my $real = EventSource::Hub->new;
    for my $case (
        ['an empty id',    '',         'id must not be empty: it would reset the client\'s last event ID'],
        ['an id too long', 'x' x 1025, 'id must have at most 1024 bytes in UTF-8'],
    ) {
        my ($what, $id, $why) = @$case;
        my $response = post('application/json', qq({"id":"$id","data":"x"}), app => pubsub(hub => $real));
        is $response->code . ' ' . $response->content, "400 $why\n", "$what: 400";
    }
    my $response = post('text/plain', 'x', app => pubsub(hub => $real));
    is decode_json($response->content)->{id}, $real->epoch . '-1', 'the response has the id of the hub';
};

sub error_of {
    my $code = shift;
    eval {
        EventSource::Error->throw(
            code    => $code,
            field   => 'id',
            message => 'EventSource::Hub: id must not be used twice'
        );
    };
    return $@;
}

subtest 'the code of an EventSource::Error decides between 400 and 500' => sub {
    open my $errors, '>', \my $said or die $!;
    for my $case ([invalid => 400, "id must not be used twice\n"],
        map { [$_ => 500, "Internal server error\n"] } qw(state unsupported unavailable timeout internal)) {
        my ($code, $status, $text) = @$case;
        local $hub->{is_broken} = error_of($code);
        my $response = post('text/plain', 'x', env => {'psgi.errors' => $errors});
        is $response->code,    $status, "the code $code gives the status $status";
        is $response->content, $text,   "the response to the code $code has the right text";
    }
};

subtest 'an exception of the hub is a 500' => sub {
    open my $errors, '>', \my $said or die $!;
    local $hub->{is_broken} = 1;
    my $response = post('text/plain', 'x', env => {'psgi.errors' => $errors});
    is $response->code,    500,                       'the status is 500 for an exception of the hub';
    is $response->content, "Internal server error\n", 'the response has no details of the exception';
    is $said, "Plack::App::EventSource::PubSub: publish: the hub is broken\n",
        'psgi.errors has the exception of the hub';

    $hub->{is_broken} = bless [], 'Mute';
    is post('text/plain', 'x', env => {'psgi.errors' => $errors})->code, 500,
        'the status is 500 for an object without a string';
    like $said, qr/: publish: a Mute that cannot be made a string\n\z/, 'psgi.errors has the class of the object';
};

package Mute {
    use overload '""' => sub { die "mute\n" }, bool => sub { 1 };
}

done_testing;

# The events of EventSource::Datastar, as Datastar's SDK specifies them, and the signals of requests.

use lib 't/lib';
use Testing;
use EventSource::Datastar;
use HTTP::Message::PSGI qw(req_to_psgi);
use HTTP::Request::Common;

my $DATASTAR = 'EventSource::Datastar';

my @EVENTS = (
    ['elements', [patch_elements => '<p id="a">1</p>'], elements => 'elements <p id="a">1</p>'],
    [
        'elements of several lines, with each kind of line end',
        [patch_elements => "<p\r\nid=a>\r1\n</p>\n"],
        elements => "elements <p\nelements id=a>\nelements 1\nelements </p>"
    ],
    [
        'an empty line within elements',
        [patch_elements => "<pre>1\n\n2</pre>"],
        elements => "elements <pre>1\nelements \nelements 2</pre>"
    ],
    [
        'elements with all options',
        [patch_elements => '<g/>', selector => '#a', mode => 'append', namespace => 'svg', use_view_transition => 1],
        elements => "selector #a\nmode append\nnamespace svg\nuseViewTransition true\nelements <g/>"
    ],
    [
        'options that are the default',
        [patch_elements => '<p>', mode => 'outer', namespace => 'html', use_view_transition => 0],
        elements => 'elements <p>'
    ],
    ['elements that go', [remove_elements => '#a, #b'], elements => "selector #a, #b\nmode remove"],
    [
        'a script',
        [execute_script => 'go()'],
        elements => qq{selector body\nmode append\nelements <script data-effect="el.remove()">go()</script>}
    ],
    [
        'a script of two lines that stays, with attributes',
        [
            execute_script => "a()\nb()",
            auto_remove    => 0,
            attributes     => {type => 'module', title => '"<&', async => undef}
        ],
        elements =>
            qq{selector body\nmode append\nelements <script async title="&quot;&lt;&amp;" type="module">a()\nelements b()</script>}
    ],
    [
        'signals',
        [patch_signals => {b => {c => undef}, a => "\x{263A}\n"}],
        signals => qq(signals {"a":"\x{263A}\\n","b":{"c":null}})
    ],
    [
        'signals as JSON of two lines',
        [patch_signals => "{\n}", only_if_missing => 1],
        signals => "onlyIfMissing true\nsignals {\nsignals }"
    ],
);

for my $case (@EVENTS) {
    my ($name, $call, $type, $data) = @$case;
    my ($method, @arguments) = @$call;
    is_deeply $DATASTAR->$method(@arguments), {event => "datastar-patch-$type", data => $data}, $name;
}
is_deeply $DATASTAR->patch_signals({}, id => 7, retry => 2000, key => 'k', retain => 1),
    {event => 'datastar-patch-signals', data => 'signals {}', id => 7, retry => 2000, key => 'k', retain => 1},
    'the fields of an event are kept';

my @REFUSED = (
    [[patch_elements => undef],                     elements  => qr/elements are required/],
    [[patch_elements => '<p>', mode => 'merge'],    mode      => qr/mode must be 'outer', /],
    [[patch_elements => '<p>', mode => 'append'],   selector  => qr/mode 'append' needs a selector/],
    [[patch_elements => '<p>', selector => "a\nb"], selector  => qr/selector must be one line/],
    [[patch_elements => '<p>', namespace => 'xul'], namespace => qr/namespace must be 'html', /],
    [[patch_elements => '<p>', selectr => 'a'],     selectr   => qr/did you mean selector\?/],
    [[patch_elements  => ['<p>']],               elements => qr/elements must be a string/],
    [[remove_elements => undef],                 selector => qr/mode 'remove' needs a selector/],
    [[patch_signals   => [1]],                   signals  => qr/signals must be a hash/],
    [[patch_signals   => {a => sub { }}],        json     => qr/json: /],
    [[execute_script  => undef],                 script   => qr/script is required/],
    [[execute_script  => q{write('</SCRIPT>')}], script   => qr/write \\x3C for the </],
    [[execute_script => 'a()', attributes => {'a b' => 1}],  attributes => qr/'a b' is not the name/],
    [[execute_script => 'a()', attributes => {title => []}], attributes => qr/attribute title must be a string/],
    [[patch_signals => " \n"],                               signals    => qr/or a string of JSON/],
    [[read_signals => undef],                                request    => qr/must be a PSGI environment/],
);

for my $case (@REFUSED) {
    my ($call, $field, $message) = @$case;
    my ($method, @arguments) = @$call;
    eval { $DATASTAR->$method(@arguments) };
    my $error = $@;
    like $error, $message, "$field is refused";
    is $error->field, $field, 'the error names the field';
    like $error, qr/ at \Q$0\E line /, 'the error has the line of the caller';
}

sub signals_of {
    return $DATASTAR->read_signals(req_to_psgi(shift));
}

my $json = '{"a":"\u263a","b":[1]}';
my $read = {a => "\x{263A}", b => [1]};
my $url  = '/?datastar=' . $json =~ s/([^\w])/sprintf '%%%02X', ord $1/ger;
is_deeply signals_of(GET $url),                           $read, 'signals of a GET';
is_deeply signals_of(HTTP::Request::Common::DELETE $url), $read, 'signals of a DELETE';
for my $method (qw(POST PUT PATCH)) {
    my $request =
        HTTP::Request->new($method, '/', ['Content-Type' => 'application/json', 'Content-Length' => length $json],
        $json);
    is_deeply signals_of($request), $read, "signals of a $method";
}
is signals_of(GET '/'),                                            undef, 'a request without signals';
is signals_of(GET '/?datastar='),                                  undef, 'an empty parameter';
is signals_of(GET '/?datastar={'),                                 undef, 'a parameter that is not JSON';
is signals_of(GET '/?datastar=[1]'),                               undef, 'signals that are no object';
is signals_of(POST '/', Content => "\xFF"),                        undef, 'a body that is not JSON';
is signals_of(POST '/', Content => '{"a":"' . 'x' x 2**20 . '"}'), undef, 'a body of more than 1 MiB';
{
    my @warnings;
    local $SIG{__WARN__} = sub { push @warnings, @_ };
    my $env = {%{req_to_psgi(POST '/', Content => '{}')}, CONTENT_LENGTH => 'x'};
    is $DATASTAR->read_signals($env), undef, 'a length that is not a number';
    is_deeply \@warnings, [], 'of which nobody is warned';
}
for my $type ('multipart/form-data', 'multipart/form-data; boundary=x', 'application/x-www-form-urlencoded') {
    my $env = req_to_psgi(POST '/', Content_Type => $type, Content => $json);
    $env->{'psgix.input.buffered'} = 0;
    is_deeply eval { $DATASTAR->read_signals($env) }, $read, "signals whose type is $type";
    is_deeply $DATASTAR->read_signals($env),          $read, 'they may be read again';
}
is signals_of(GET '/?datastar=' . '[' x 10_000), undef, 'signals that are nested deeply';

done_testing;

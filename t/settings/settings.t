# EventSource::XS::Settings: which settings each check accepts, and the exception for all others.

use lib 't/lib';
use Testing;
use EventSource::Hub;
use EventSource::XS::Settings;
use Plack::App::EventSource;

# A module that takes settings, as one of ours would, and an object with overloading.
package EventSource::Ours {
    my $SETTINGS = EventSource::XS::Settings->new('My::Module');
    sub check        { my ($class, $method, @arguments) = @_; return $SETTINGS->$method(@arguments) }
    sub seconds      { return $SETTINGS->seconds(number => $_[1]) }
    sub whole_number { return $SETTINGS->whole_number(number => @_[1 .. $#_]) }
}

package My::String {
    use overload '""' => sub { ${$_[0]} };
}

my $named = bless \(my $text = 'text'), 'My::String';

my @ACCEPTED = (
    [code         => on_close => sub { }],
    [code         => on_close => undef],
    [one_line     => name     => 'one line'],
    [one_line     => name     => undef],
    [one_of       => mode     => 'on',                   'on',   'off'],
    [one_of       => mode     => 0,                      'auto', 0, 1],
    [one_of       => mode     => undef,                  'on'],
    [whole_number => count    => 1,                      from => 1],
    [whole_number => count    => 0,                      from => 0],
    [whole_number => count    => '18446744073709551615', from => 1],
    [whole_number => count    => 7,                      from => 1, to => 7],
    [whole_number => count    => undef,                  from => 1],
    [string       => after    => 'text'],
    [string       => after    => ''],
    [string       => after    => undef],
    (map { [seconds => keepalive => $_] } 0, 1, '1.', '.5', 2.5, 1 / 1e7, '0.0', undef),
    [seconds => timeout => 0.1, is_above_zero => 1],
);

my @REFUSED = (
    (map { [on_close => 'on_close must be a code reference',       code     => on_close => $_] } '', 'x', [], {}),
    (map { [name     => 'name must be one line that is not empty', one_line => name => $_] } '', "a\n", "a\rb", "\0"),
    [mode => "mode must be 'on' or 'off'",     one_of => mode => 'up',   'on',   'off'],
    [mode => "mode must be 'on' or 'off'",     one_of => mode => "on\n", 'on',   'off'],
    [mode => "mode must be 'auto', 0 or 1",    one_of => mode => 2,      'auto', 0, 1],
    [mode => "mode must be undef or 'unwind'", one_of => mode => '',     undef,  'unwind'],
    [mode => "mode must be 'on'",              one_of => mode => 'off',  'on'],
    (
        map { [count => 'count must be a whole number from 1', whole_number => count => $_, from => 1] } 0,
        -1, 1.5, '', '1e3', "1\n", '+1', 'x', []
    ),
    [count => 'count must be a whole number from 1 to 9',   whole_number => count => 10, from => 1, to   => 9],
    [max   => 'max must be a whole number of bytes from 0', whole_number => max   => -1, from => 0, unit => 'bytes'],
    [
        'history', 'events of history must be a whole number from 0',
        whole_number => 'events of history',
        'x',
        from  => 0,
        field => 'history'
    ],
    (
        map { [keepalive => 'keepalive must be a number of seconds', seconds => keepalive => $_] } '',
        -1, '.', '1e3', '1e-', 'inf', 'nan', "1\n", '1 s', []
    ),
    [
        timeout       => 'timeout must be a number of seconds above 0',
        seconds       => timeout => '0.0',
        is_above_zero => 1
    ],
    [after => 'after must be a string, not a reference to ARRAY',    string => after       => []],
    [after => 'after must be a string, not a reference to My::Ref',  string => after       => bless {}, 'My::Ref'],
    [data  => 'each line must be a string, not a reference to HASH', string => 'each line' => {}, field => 'data'],
    [undef, 'new takes settings, as names and values or in a hash', parse => 'new takes settings', 'count'],
    [undef, 'new takes settings, as names and values or in a hash', parse => 'new takes settings', []],
    [b => "unknown setting 'b' (known: a, c)",       known  => {a => 1, d => 1, b => 1}, ['c', 'a']],
    [b => "unknown option 'b' of to_app (known: a)", known  => {b => 1}, ['a'], 'option %s of to_app'],
    [b => 'b must not be given with a',              refuse => b => 'b must not be given with a'],
);

sub shown {
    return join ', ', map { defined $_ ? "'$_'" : 'undef' } @_;
}

for my $row (@ACCEPTED) {
    my ($method, @arguments) = @$row;
    my $returned = eval { EventSource::Ours->check($method, @arguments) };
    is $@,        '',            "$method(" . shown(@arguments) . ') throws nothing';
    is $returned, $arguments[1], "$method(" . shown(@arguments) . ') returns the value';
}

for my $row (@REFUSED) {
    my ($field, $message, $method, @arguments) = @$row;
    my $call = "$method(" . shown(@arguments) . ')';
    my ($file, $line) = (__FILE__, __LINE__ + 1);
    ok !eval { EventSource::Ours->check($method, @arguments); 1 }, "$call throws";
    my $error = $@;
    isa_ok $error, 'EventSource::Error', "the exception of $call";
    is_deeply [$error->code, $error->field], ['invalid', $field], "$call throws code invalid with the field";
    is "$error", "My::Module: $message at $file line $line.\n", "$call names the module and the caller's line";
}

is(EventSource::Ours->check(string => after => $named), 'text', 'string makes a string of an object with overloading');

for my $forms (['names and values', a => 1, b => 2], ['a hash', {a => 1, b => 2}]) {
    my ($what, @arguments) = @$forms;
    is_deeply { EventSource::Ours->check(parse => 'new', @arguments) }, {a => 1, b => 2}, "parse reads $what";
}
is_deeply [EventSource::Ours->check(parse => 'new')],                [],         'parse reads an empty list';
is_deeply [EventSource::Ours->check(known => {a => 1}, ['a', 'b'])], [{a => 1}], 'known returns settings of the list';

# Math::BigFloat 1.99 is such a class under use bignum.
package My::Number {
    use overload '""' => sub { ${$_[0]} }, '0+' => sub { 0 }, fallback => 1;
    sub new { my ($class, $text) = @_; return bless \$text, $class }
}

subtest 'of a number that is an object the string counts' => sub {
    for my $check ([seconds => 2.5], [whole_number => 7, from => 1],
        [whole_number => '18446744073709551615', from => 1]) {
        my ($method, $number, @option) = @$check;
        my $variable = My::Number->new($number);
        my $returned = EventSource::Ours->$method($variable, @option);
        ok !ref $_ && $_ == $number, "$method: $number" for $returned, $variable;
    }
    my ($second, $hour) = map { My::Number->new($_) } 1000, 3600;
    my $hub = EventSource::Hub->new(keep_history => {seconds => $hour, events => $second});
    $hub->publish(news => $_) for 1, 2;
    is $hub->stats->{history}{events}, 2, 'the history of a hub';
    my %setting  = (keepalive => $hour, linger => $hour, max_buffered => $second, retry => [$second, $second]);
    my $settings = EventSource::XS::Stream->settings(%setting);
    is_deeply [@$settings{sort keys %setting}], [3600, 3600, 1000, [1000, 1000]], 'the settings of streams';
    my $app = Plack::App::EventSource->new(handler_cb => sub { }, retry => $second);
    ok $app->random_retry >= 1000, 'a reconnection time';
};

done_testing;

# The boundary reads every kind of scalar as Perl does, and runs its magic once.

use lib 't/lib';
use Testing;
use EventSource::XS::Request;
use EventSource::XS qw(format_event);
use HTTP::ServerEvent;

# The functions that encode events, each given one value as data. Their output differs in line ends only.
my %WAYS = (
    format_event => sub { return format_event(data => $_[0]) },
    as_string => sub { my $block = HTTP::ServerEvent->as_string(data => $_[0]); utf8::encode($block); return $block },
    push          => sub { return EventSource::XS::_push_bytes(0, $_[0]) },
    'push a hash' => sub { return EventSource::XS::_push_bytes(0, {data => $_[0]}) },
    'an array'    => sub { return format_event(data => [$_[0]]) },
    'a hash'      => sub { return format_event({data => $_[0]}) },
);

# Tests the output of each way for a value. The value itself is passed, not a copy.
sub all_ways_give {
    my (undef, $expected, $name) = @_;
    for my $way (sort keys %WAYS) {
        my $got = $WAYS{$way}->($_[0]);
        $got =~ tr/\r//d;    # s/// would change $1
        is $got, "data: $expected\n\n", "$name: $way";
    }
    return;
}

subtest 'plain scalars' => sub {
    all_ways_give('text',       'text',       'a string');
    all_ways_give(7,            '7',          'an integer');
    all_ways_give(-7,           '-7',         'a negative integer');
    all_ways_give(0,            '0',          'zero');
    all_ways_give(~0,           ~0,           'the largest integer');
    all_ways_give(1.5,          '1.5',        'a fraction');
    all_ways_give(1e30,         '1e+30',      'a large number');
    all_ways_give(!!1,          '1',          'true');
    all_ways_give('0 but true', '0 but true', 'true zero');
};

subtest 'a dualvar gives its string' => sub {
    require Scalar::Util;
    all_ways_give(Scalar::Util::dualvar(5, 'five'), 'five', 'dualvar');
    local $! = 2;
    all_ways_give($!, "$!", '$!');
};

subtest 'special scalars' => sub {
    'match' =~ /(at)/;
    all_ways_give($1,      'at',            '$1');
    all_ways_give($&,      'at',            '$&');
    all_ways_give(*STDOUT, '*main::STDOUT', 'a glob');
    all_ways_give(v1.2.3,  "\1\2\3",        'a version string');
    my $text = 'abcdef';
    all_ways_give(substr($text, 1, 3),    'bcd', 'a part of a string');
    all_ways_give(${\substr $text, 1, 3}, 'bcd', 'a reference to a part of a string');
    my @list = (1, 2, 3);
    all_ways_give($#list, '2', 'the length of an array');
    my $position = 'aab';
    $position =~ /a/g;
    all_ways_give(pos $position, '1', 'the position of a match');
    my %hash = (key => 'value');
    all_ways_give($hash{key}, 'value', 'an element of a hash');
    sub { all_ways_give($_[0], 'passed', 'an argument') }
        ->('passed');
};

subtest 'the UTF-8 flag of a string does not change the output' => sub {
    for my $text ("caf\xE9", "\xC3\xA9", "a\x{263A}", 'ascii', "\xC3\xA9\n\xE9") {
        my ($up, $down) = ($text, $text);
        utf8::upgrade($up);
        utf8::downgrade($down, 1);
        for my $way (sort keys %WAYS) {
            is $WAYS{$way}->($up), $WAYS{$way}->($down), "$way: " . join ' ', map { sprintf '%X', ord } split //, $text;
        }
    }
};

subtest 'push decides for each string whether it is UTF-8' => sub {
    my $bytes = EventSource::XS::_push_bytes(0, "\xC3\xA9", "\xE9", '☺', {id => "\xC3\xA9", data => "\xE9"});
    is $bytes, "data: \xC3\xA9\r\ndata: \xC3\xA9\r\ndata: \xE2\x98\xBA\r\nid: \xC3\xA9\r\ndata: \xC3\xA9\r\n\r\n",
        'bytes that are UTF-8 are sent unchanged, other strings are encoded';
    is EventSource::XS::_push_bytes(1, "\xC3\xA9"), "data: \xC3\x83\xC2\xA9\r\n\r\n",
        'characters => 1 encodes bytes too';
    my $mixed = HTTP::ServerEvent->as_string(event => "\xE9", data => '☺', id => "\xC3\xA9");
    is $mixed, "event: \xE9\r\nid: \xC3\xA9\r\ndata: \x{263A}\r\n\r\n", 'as_string keeps characters';
};

# A tied value that counts how often it is read.
package Counted {
    sub TIESCALAR { my ($class, $value) = @_; return bless {value => $value, reads => 0}, $class }
    sub FETCH     { my $self = shift; $self->{reads}++; return $self->{value} }
    sub STORE     { die 'nobody stores here' }
}

subtest 'a tied scalar is read once' => sub {
    for my $way (sort keys %WAYS) {
        my $counted = tie my $value, 'Counted', "a\nb";
        $WAYS{$way}->($value);
        is $counted->{reads}, 1, "$way: it is read once";
    }
    tie my $undef, 'Counted', undef;
    is format_event(id => 1, data => $undef), "id: 1\n\n", 'undef from a tied scalar is not a field';
    tie my $array, 'Counted', ['a', 'b'];
    is format_event(data => $array), "data: a\ndata: b\n\n", 'an array from a tied scalar is sent';
    tie my $hash, 'Counted', {id => 1, data => 'x'};
    is format_event($hash),                    "id: 1\ndata: x\n\n",       'a hash from a tied scalar is sent';
    is EventSource::XS::_push_bytes(0, $hash), "id: 1\r\ndata: x\r\n\r\n", 'a hash from a tied scalar is pushed';
    tie my $name, 'Counted', 'data';
    is format_event($name, 'x'), "data: x\n\n", 'a tied name is accepted';
};

subtest 'tied arrays and hashes are read like others' => sub {
    require Tie::Array;
    require Tie::Hash;
    tie my @array, 'Tie::StdArray';
    @array = ('a', "b\nc", 3);
    is format_event(data => \@array), "data: a\ndata: b\ndata: c\ndata: 3\n\n", 'a tied array';
    tie my %hash, 'Tie::StdHash';
    %hash = (event => 'e', data => 'x', id => 2);
    is format_event(\%hash),                    "event: e\nid: 2\ndata: x\n\n",         'a tied hash';
    is EventSource::XS::_push_bytes(0, \%hash), "event: e\r\nid: 2\r\ndata: x\r\n\r\n", 'a tied hash, pushed';
};

# An object whose string is what a sub returns.
package Says {
    use overload '""' => sub { $_[0]{reads}++; return $_[0]{code}->() }, fallback => 1;
    sub new { my ($class, $code) = @_; return bless {code => $code, reads => 0}, $class }
}

subtest 'an overloaded object is converted to a string once' => sub {
    for my $way (sort keys %WAYS) {
        my $object = Says->new(sub { "é☺\nx" });
        my $got    = $WAYS{$way}->($object);
        like $got, qr/\Adata: \xC3\xA9\xE2\x98\xBA\r?\ndata: x\r?\n\r?\n\z/, "$way: its string is sent";
        is $object->{reads}, 1, "$way: it is converted once";
    }
    is format_event(Says->new(sub { 'id' }), 3), "id: 3\n\n", 'an object may be a name';
};

subtest 'an exception of Perl code in an argument reaches the caller unchanged' => sub {
    for my $way (sort keys %WAYS) {
        ok !eval {
            $WAYS{$way}->(Says->new(sub { die {code => 42} }));
            1;
        }, "$way dies";
        is $@->{code}, 42, "$way: the exception is the object that was thrown";
    }
    ok !eval {
        format_event(id => "a\n", data => Says->new(sub { 'x' }));
        1;
    }, 'an invalid field beside an object is refused';
    like $@, qr/id must not contain a line break/, 'the error names the invalid field';
};

subtest 'Perl code in one argument may change the others' => sub {
    my @data  = ('a' .. 'e');
    my $eater = Says->new(sub { @data = (); return 'eaten' });
    @data[1, 2] = ($eater, 'c' x 100);
    is format_event(data => \@data), "data: a\ndata: eaten\n\n", 'an array may be emptied while it is read';

    my @grow = ('a', Says->new(sub { return 'more' }));
    my $once = 0;
    $grow[1] = Says->new(
        sub {
            push @grow, map { "g$_" } 1 .. 200 if !$once++;
            return 'grown';
        }
    );
    is scalar(() = format_event(data => \@grow) =~ /^data: g\d+$/mg), 200, 'an array may grow while it is read';

    my @args = (id => 1, event => Says->new(sub { 'e' }), data => 'kept');
    $args[3] = Says->new(
        sub {
            @args = ();
            my @churn = map { 'x' x $_ } 1 .. 100;
            return 'e';
        }
    );
    is format_event(@args), "event: e\nid: 1\ndata: kept\n\n", 'the arguments may be freed';

    my %hash = (data => 'kept', id => 5);
    $hash{event} = Says->new(
        sub {
            undef %hash;
            my @churn = map { 'y' x $_ } 1 .. 100;
            return 'e';
        }
    );
    like EventSource::XS::_push_bytes(0, \%hash), qr/\Aevent: e\r\n/, 'a hash may be emptied while it is read';

    my $text   = 'before';
    my $change = Says->new(sub { $text = 'after' x 1000; return 'e' });
    like format_event(event => $change, data => $text), qr/\Aevent: e\ndata: (?:before|(?:after)+)\n\n\z/,
        'a string may be replaced while another is read';

    my $deep = Says->new(sub { return format_event(data => 'inner') });
    is format_event(data => $deep), "data: data: inner\ndata: \ndata: \n\n", 'an argument may call the function again';

    my $wide = Says->new(
        sub {
            my @list = map { 'z' } 1 .. 5_000;
            return scalar @{
                [
                    sub { return @_ }
                        ->(@list)
                ]
            };
        }
    );
    is format_event(id => 1, data => $wide), "id: 1\ndata: 5000\n\n", 'the stack may move while it is read';
};

subtest 'the functions that read the head of a request do the same' => sub {
    my $call  = sub { return scalar EventSource::XS::Request->_call(@_) };
    my $bound = sub {
        my ($host, $cookies) = @_;
        return EventSource::XS::Request->_call('bound', undef, '', 'GET', $host, undef, undef, '/', 'a=1', $cookies);
    };
    my $digest = sub { return unpack 'H*', ($bound->($_[0], 'b=2'))[0] };
    my %ways   = (
        'a header'  => [sub { $call->('id', $_[0], undef) }, "caf\xE9"],
        'a query'   => [sub { $call->('id', undef, $_[0]) }, "lastEventId=caf\xE9", "caf\xE9"],
        'a coding'  => [sub { EventSource::XS::Request->coding($_[0], 'gzip') }, 'gzip'],
        'a cookie'  => [sub { ($bound->('h', $_[0]))[1] },     'eventsource-ticket-8a5edab2=YQ', 'a'],
        'its name'  => [sub { $call->('cookie', $_[0], '/') }, 'a', 'eventsource-ticket-a-8a5edab2'],
        preferences => [sub { (EventSource::XS::Request->_call('preference', $_[0]))[0] }, 'wait=5'],
        'a request' => [$digest, "h\xE9", $digest->("h\xE9")],
    );
    for my $way (sort keys %ways) {
        my ($code, $value, $expected) = @{$ways{$way}};
        $expected //= $value;
        utf8::upgrade(my $flagged = $value);
        is $code->($_), $expected, "$way: with the flag and without" for $value, $flagged;
        my $counted = tie my $tied, 'Counted', $value;
        is $code->($tied), $expected, "$way: a tied value";
        my $object = Says->new(sub { return $value });
        is $code->($object),                     $expected, "$way: an object";
        is "$counted->{reads} $object->{reads}", '1 1',     "$way: each is read once";
    }
    is $call->('id', '☺', undef), '☺', 'characters that are not bytes are kept';
    my @values;
    @values = ('before' x 50, Says->new(sub { @values = (); return 'lastEventId=7' }));
    is $call->('id', @values), 'before' x 50, 'a value may be freed while another is read';
};

subtest 'each result of one call site is a separate value' => sub {
    my @blocks = map { format_event(data => $_) } 'a' .. 'c';
    is "@blocks", "data: a\n\n data: b\n\n data: c\n\n", 'results of a map';
    my @refs = map { \format_event(data => $_) } 'a' .. 'c';
    is ${$refs[0]}, "data: a\n\n", 'references to results';
    my $nest = sub {
        my ($self, $depth) = @_;
        return $depth ? format_event(id => $self->($self, $depth - 1) =~ tr/\n//dr) : 'x';
    };
    is $nest->($nest, 3), "id: id: id: x\n\n", 'results of a recursion';
    my $keep = [format_event(data => 'x'), format_event(data => 'y' x 500), HTTP::ServerEvent->as_string(data => '☺')];
    is $keep->[0], "data: x\n\n", 'results in an array';
    ok !utf8::is_utf8(format_event(data => $_)), 'format_event: no result has the UTF-8 flag' for '☺', 'x';
    my @flags = map { utf8::is_utf8(HTTP::ServerEvent->as_string(data => $_)) ? 1 : 0 } '☺', 'x', "\xE9";
    is "@flags", '1 0 0', 'as_string: only a result with wide characters has the UTF-8 flag';
};

done_testing;

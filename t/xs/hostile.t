# Arguments that run hostile Perl code while a function reads them. The code must not corrupt memory, and each argument is
# read once.
#
# A defect in the boundary may go unnoticed here by luck, so these tests also run under valgrind (script/sanitize).

use lib 't/lib';
use Testing;
use EventSource::Parser;
use EventSource::XS qw(format_event);
use HTTP::ServerEvent;

subtest 'an empty text from Rust, which has no NUL at its end, becomes an empty string' => sub {
    my $parser = EventSource::Parser->new;
    is $parser->last_event_id, '', 'the last event ID of a new parser is empty';
    is_deeply [$parser->feed("data\n\n")], [{event => 'message', data => '', id => ''}],
        'data and ID of an event are empty';
};

subtest 'local on the hash of a parser does not copy the parser' => sub {
    my $parser = EventSource::Parser->new;
    our %object;
    local *object = $parser;
    {
        local %object;
        ok !eval { EventSource::Parser::feed(bless(\%object, 'EventSource::Parser'), 'x') },
            'feed refuses the local hash';
        like $@, qr/this is not a parser/, 'the error says that it is not a parser';
    }
    is $parser->feed("data: 1\n\n"), 1, 'the parser still works afterwards';
};

# A freed text stays readable until its memory is reused. `spoil` reuses it.
sub spoil {
    my @others = map { "spoilt $_" x 20 } 1 .. 200;
    return scalar @others;
}

package Saboteur {
    use overload
        '""'   => sub { $_[0]{act}->(); $_[0]{text} },
        'bool' => sub { $_[0]{act}->(); 1 };

    sub new { my ($class, $text, $act) = @_; return bless {text => $text, act => $act}, $class }
    sub TIESCALAR { my $class = shift; return bless {}, $class }
}

# A hash of one text, and a saboteur that deletes it.
sub prey {
    my %h = (x => join '-', 'prey', 1 .. 50);
    return (\%h, Saboteur->new($_[0], sub { delete $h{x}; main::spoil() }));
}

my $PREY = join '-', 'prey', 1 .. 50;

subtest 'an argument that is deleted while another is read is still sent' => sub {
    my ($h, $saboteur) = prey('bye');
    is format_event(data => $h->{x}, event => $saboteur), "event: bye\ndata: $PREY\n\n",
        'an overloaded value deletes it';

    ($h, $saboteur) = prey('event');
    is format_event($saboteur => 'ping', data => $h->{x}), "event: ping\ndata: $PREY\n\n",
        'an overloaded name deletes it';

    ($h, $saboteur) = prey(1);
    is format_event(bytes => $saboteur, data => $h->{x}), "data: $PREY\n\n", 'an overloaded truth deletes it';

    ($h, $saboteur) = prey(1);
    is EventSource::XS::_push_bytes($saboteur, $h->{x}), "data: $PREY\r\n\r\n",
        'the argument for the meaning of strings deletes it';

    ($h, $saboteur) = prey('bye');
    is(
        HTTP::ServerEvent->as_string(data => $h->{x}, id => $saboteur),
        "id: bye\r\ndata: $PREY\r\n\r\n",
        'an overloaded id deletes it'
    );

    ($h, $saboteur) = prey('bye');
    local $SIG{__WARN__} = sub { delete $h->{x}; spoil() };
    is(
        HTTP::ServerEvent->as_string(undef, 1, data => $h->{x}),
        "data: $PREY\r\n\r\n",
        'a handler of warnings deletes it'
    );
};

subtest 'an overloaded field name is read once' => sub {
    my $count = 0;
    my $name  = Saboteur->new('data', sub { $count++ });
    is format_event($name => 'x'), "data: x\n\n", 'the name is accepted';
    is $count,                     1,             'the name was read once';
    $name = Saboteur->new('nonsense', sub { $count++ });
    ok !eval { format_event($name => 'x') }, 'a name that is not a field is refused';
    like $@, qr/unknown field 'nonsense'/, 'the error has the text of the name';
    is $count, 2, 'the refused name was read once';
};

subtest 'an argument that is changed while a later one is read is sent with its old value' => sub {
    my ($x, $saboteur);
    for my $change (
        ['becomes undefined'   => sub { undef $x }],
        ['becomes shorter'     => sub { $x = 'no' }],
        ['becomes longer'      => sub { $x .= '!' x 10_000 }],
        ['becomes a reference' => sub { $x = [] }],
        [
            'becomes an object' => sub {
                $x = Saboteur->new('no', sub { die 'read too late' });
            }
        ],
        ['is tied' => sub { tie $x, 'Saboteur' }],
    ) {
        my ($what, $act) = @$change;
        untie $x;
        $x        = "$PREY";
        $saboteur = Saboteur->new('then', sub { $act->(); spoil() });
        is EventSource::XS::_push_bytes(1, $x, $saboteur), "data: $PREY\r\ndata: then\r\n\r\n",
            "push: the argument $what";

        untie $x;
        $x = "$PREY";
        is format_event(data => [$x, $saboteur]), "data: $PREY\ndata: then\n\n", "format_event: the element $what";
    }
};

package TiedHash {
    sub TIEHASH  { my ($class, %self) = @_; return bless {%self}, $class }
    sub FETCH    { $_[0]{fetched}->();      return $_[0]{of}{$_[1]} }
    sub FIRSTKEY { my $self = shift; $self->{first}->(); $self->{left} = [@{$self->{names}}]; return $self->NEXTKEY }
    sub NEXTKEY  { return shift @{$_[0]{left}} }
}

subtest 'a tied hash that is released while it is read is sent whole' => sub {
    my $event;
    my $make = sub {
        my %param = @_;
        tie my %h, 'TiedHash',
            of      => {data => $PREY, id => 7},
            names   => ['data', 'id'],
            fetched => sub { },
            first   => sub { },
            %param;
        $event = \%h;
    };
    $make->(first => sub { undef $event; spoil() });
    is format_event($event), "id: 7\ndata: $PREY\n\n", 'it is released at its first name';

    $make->(fetched => sub { undef $event; spoil() });
    is format_event($event), "id: 7\ndata: $PREY\n\n", 'it is released at its first value';
    $make->(fetched => sub { undef $event; spoil() });
    is EventSource::XS::_push_bytes(1, $event), "id: 7\r\ndata: $PREY\r\n\r\n",
        'it is released at its first value in a push';

    my $rewound = 0;
    my $name    = Saboteur->new('data', sub { scalar keys %$event if !$rewound++; spoil() });
    $make->(names => [$name, 'id'], of => {data => $PREY, "$name" => $PREY, id => 7});
    $rewound = 0;
    is format_event($event), "id: 7\ndata: $PREY\n\n", 'a name rewinds the iterator';
};

subtest 'an argument that was freed before the call counts as undefined' => sub {
    my @warnings;
    local $SIG{__WARN__} = sub {
        push @warnings, grep { !/is a reference to/ } @_;
    };    # a freed scalar may be another by now
    my %h;
    my @names = 'a' .. 'z';
    my $free  = sub { undef %h; return Saboteur->new('c', \&spoil) };
    for (1 .. 3) {
        @h{@names} = (1 .. 26);
        eval {
            format_event((map { ('data', $_) } @h{@names}), comment => $free->());
        };
        @h{@names} = (1 .. 26);
        eval { EventSource::XS::_push_bytes(1, @h{@names}, $free->()) };
    }
    is_deeply \@warnings, [], 'no warning about a scalar that is freed twice';
};

package TiedScalar {
    sub TIESCALAR { my ($class, $fetch) = @_; return bless {fetch => $fetch}, $class }
    sub FETCH     { return $_[0]{fetch}->() }
}

subtest 'a parser that its holder releases while the bytes are read lives until the end of the call' => sub {
    my %h = (parser => EventSource::Parser->new);
    tie my $undefines, 'TiedScalar', sub { undef $h{parser}; spoil(); return "data: 1\n\n" };
    is_deeply [$h{parser}->feed($undefines)], [{event => 'message', data => '1', id => ''}],
        'the variable is undefined: the event is parsed';

    my $other = EventSource::Parser->new;
    %h = (parser => EventSource::Parser->new);
    tie my $assigns, 'TiedScalar', sub { $h{parser} = $other; return "data: 1\n\n" };
    is $h{parser}->feed($assigns), 1, 'another parser is assigned: the first parser parses the event';
    is $other->feed(''),           0, 'the assigned parser receives nothing';

    %h = (parser => EventSource::Parser->new);
    tie my $deletes, 'TiedScalar', sub { delete $h{parser}; spoil(); return "data: 1\n\n" };
    is_deeply [$h{parser}->feed($deletes)], [{event => 'message', data => '1', id => ''}],
        'the element is deleted: the event is parsed';

    tie my $itself, 'TiedScalar', sub { return $h{parser} };
    $h{parser} = EventSource::Parser->new;
    is EventSource::Parser::feed($itself, "data: 1\n\n"), 1,  'feed accepts a parser in a tied scalar';
    is EventSource::Parser::last_event_id($itself),       '', 'last_event_id accepts a parser in a tied scalar';

    %h = (object => bless {}, 'EventSource::Parser');
    tie my $number, 'TiedScalar', sub { delete $h{object}; spoil(); return 10 };
    ok eval { EventSource::Parser::_attach($h{object}, $number); 1 },
        'an object may be released while it becomes a parser';
};

subtest 'methods of a parser refuse other values' => sub {
    my @numbers = map { 12_345 + $_ } 1 .. 100;
    my $parser  = EventSource::Parser->new;
    for my $thing (undef, 1, 'EventSource::Parser', [], {}, sub { }, qr/x/, \*STDIN, \'x', \undef, \\1, \(@numbers)) {
        for my $method (qw(feed finish last_event_id retry _attach)) {
            my $code = EventSource::Parser->can($method);
            next if eval { $code->($thing, $method =~ /feed|_attach/ ? 1 : ()); fail "$method refuses it"; 1 };
            next if $@ =~ /\AEventSource::Parser: (?:this is not a parser|a parser is an object)/;
            fail "$method: $@";
        }
    }
    ok !eval { $parser->_attach(1) }, 'a parser cannot be attached to a parser';
    like $@, qr/is a parser already/, 'the error says that it is a parser already';
};

subtest 'a string whose UTF-8 flag is wrong is sent as valid UTF-8' => sub {
    require Encode;
    my $cut  = "\xE9t\xE9";
    my $pair = "\xC2\x01\xC3";
    Encode::_utf8_on($_) for $cut, $pair;
    is format_event(data => $cut), "data: \xEF\xBF\xBDt\xEF\xBF\xBD\n\n", 'format_event replaces the broken characters';
    is EventSource::XS::_push_bytes(0, $cut), "data: \xEF\xBF\xBDt\xEF\xBF\xBD\r\n\r\n",
        'push replaces the broken characters';
    is EventSource::XS::_push_bytes(0, $pair), "data: \xEF\xBF\xBD\x01\xEF\xBF\xBD\r\n\r\n",
        'push replaces a broken pair';
    ok !eval { format_event(data => $cut, bytes => 1) }, 'format_event with bytes refuses it';
    ok !eval { EventSource::Parser->new->feed($cut) },   'feed refuses it';
};

subtest 'an object whose stringification replaces the variable that holds it' => sub {
    my @data;
    my $object = Saboteur->new("\x{263A}", sub { $data[0] = "caf\xE9" x 9; spoil() });
    @data = ($object);
    is format_event(data => \@data), "data: \xE2\x98\xBA\n\n", 'the string that it returned is sent';
    ok !utf8::is_utf8($data[0]), 'the flag of the new value is unchanged';
};

done_testing;
